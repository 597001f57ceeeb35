use super::ChildBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;

/// The body of a server's response.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    /// From a connection.
    Web(Incoming),
    /// Written here, in one piece.
    Whole(Option<Bytes>),
    /// Written here, piece by piece.
    Pieces(mpsc::Receiver<Bytes>),
    /// From a child.
    Child(ChildBody),
}

/// A server's response broke off.
#[derive(Debug, thiserror::Error)]
#[error("the tool server's answer broke off")]
pub struct UpstreamBodyError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        match self.get_mut() {
            Self::Web(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| UpstreamBodyError(Box::new(error)))))
            }
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => {
                Poll::Ready(ready!(pieces.poll_recv(context)).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Child(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Web(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_none(),
            Self::Pieces(_) => false,
            Self::Child(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Web(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(_) => SizeHint::default(),
            Self::Child(body) => body.size_hint(),
        }
    }
}
