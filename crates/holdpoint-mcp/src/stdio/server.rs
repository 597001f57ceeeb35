//! The server's side of a session: a pipe that takes lines, or a link to a server that answers requests.

use super::{
    link::{Asked, Cargo, Link, Serial, Withdrawn},
    outbox::{Outbox, Place, Sent},
    session::{Answered, Expect, Session, lock},
};
use crate::message::{CallFrame, IdKey, Single};
use bytes::Bytes;
use std::{io, sync::Arc};

/// Where messages for the server go.
#[derive(Debug)]
pub(super) enum ServerSide {
    /// The input of a process.
    Pipe(Outbox),
    /// Each message is a request of its own.
    Link(Box<Link>),
}

/// A message among all that were given to the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ticket {
    Line(Place),
    Parcel(Serial),
}

impl ServerSide {
    /// Returns when all that was pushed before is on its way.
    pub(super) async fn flush(&self) -> io::Result<()> {
        match self {
            Self::Pipe(outbox) => outbox.flush().await,
            Self::Link(_) => Ok(()),
        }
    }

    /// Returns when the client may say more.
    pub(super) async fn ready_for_more(&self) -> io::Result<()> {
        match self {
            Self::Pipe(outbox) => outbox.flush().await,
            Self::Link(link) => {
                link.room().await;
                Ok(())
            }
        }
    }

    /// Like [`Self::flush`], and waits for what others push.
    pub(super) async fn settle(&self) -> io::Result<()> {
        match self {
            Self::Pipe(outbox) => outbox.settle().await,
            Self::Link(_) => Ok(()),
        }
    }

    /// Nothing more will be said. What was said before still gets its answers.
    pub(super) async fn close(&self) {
        match self {
            Self::Pipe(outbox) => outbox.close().await,
            Self::Link(link) => link.close(),
        }
    }

    /// Says of a message to a server that is gone whether it got through before; it does not any more.
    pub(super) fn abandon(&self, ticket: Ticket) -> Sent {
        match (self, ticket) {
            (Self::Pipe(outbox), Ticket::Line(place)) => outbox.abandon(place),
            (Self::Link(link), Ticket::Parcel(serial)) => link.abandon(serial),
            (Self::Pipe(_), Ticket::Parcel(_)) | (Self::Link(_), Ticket::Line(_)) => Sent::Maybe,
        }
    }

    /// Nobody waits for the answer any more, and should it still come, the client must not see it.
    pub(super) fn give_up(&self, ticket: Ticket) {
        match (self, ticket) {
            (Self::Link(link), Ticket::Parcel(serial)) => {
                link.abandon(serial);
            }
            (Self::Pipe(_) | Self::Link(_), Ticket::Line(_)) | (Self::Pipe(_), Ticket::Parcel(_)) => {}
        }
    }
}

impl Session {
    /// Only for what is not a tool call: a call needs a permit.
    pub(super) fn forward(&self, messages: &[Single<'_>], line: &[u8]) {
        match &self.server {
            ServerSide::Pipe(outbox) => {
                outbox.push(line);
                if !line.ends_with(b"\n") {
                    outbox.push(b"\n");
                }
            }
            ServerSide::Link(server) => {
                if let Some(cargo) = Cargo::of(messages) {
                    self.post(server, Bytes::copy_from_slice(without_end(line)), cargo);
                }
            }
        }
    }

    /// A tool call with its permit, on one line.
    pub(super) fn send_call(&self, frame: &Arc<CallFrame>, line: &Bytes) -> Ticket {
        match &self.server {
            ServerSide::Pipe(outbox) => Ticket::Line(outbox.push(line)),
            ServerSide::Link(server) => {
                let body = line.slice(..without_end(line).len());
                Ticket::Parcel(self.post(server, body, Cargo::Call(Arc::clone(frame))))
            }
        }
    }

    /// A request of our own.
    pub(super) fn send_own(&self, id: &str, message: &[u8]) {
        match &self.server {
            ServerSide::Pipe(outbox) => outbox.push_message(message),
            ServerSide::Link(link) => {
                let asked = Asked { raw: format!("\"{id}\"").into(), key: IdKey::Text(id.into()) };
                self.post(link, Bytes::copy_from_slice(message), Cargo::Request(asked));
            }
        }
    }

    /// A request that the server may have is withdrawn; `false`: the server need not be told.
    pub(super) fn withdraw(&self, id: &IdKey) -> bool {
        let link = match &self.server {
            ServerSide::Pipe(_) => return true,
            ServerSide::Link(link) => link,
        };
        let answered = match link.withdraw(id, lock(&self.revision).is_some()) {
            Withdrawn::TellServer => return true,
            Withdrawn::NotUnderWay => return false,
            Withdrawn::BeforeItWasSent => Answered::Unsent,
            Withdrawn::ItsStreamIsClosed => Answered::Lost,
        };
        let expect = lock(&self.expected).answers.remove(id);
        if let Some(Expect::Recorded(runner)) = expect {
            let _runner_may_have_given_up = runner.send(answered);
        }
        false
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text)
}
