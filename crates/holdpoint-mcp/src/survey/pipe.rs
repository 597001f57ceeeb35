//! A server of our own, at the other end of two pipes.

use super::{ANSWER_BYTES_MAX, Wire};
use crate::{
    catalog::ListError,
    message::{IdKey, Object, is_answer_to, text_of},
    stdio::{ChildCommand, Line, Lines, ServerProcess, StdioError},
};
use async_trait::async_trait;
use std::{fmt, time::Duration};
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, ChildStdout},
    sync::Mutex,
};

/// How long it has to end by itself, and then to end when told to.
const GRACE: Duration = Duration::from_secs(5);
/// What it may say before it answers.
const LINES_MAX: usize = 10_000;

pub(super) struct Pipe {
    ends: Mutex<Ends>,
    child: ServerProcess,
}

struct Ends {
    input: ChildStdin,
    output: Lines<ChildStdout>,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("child", &self.child).finish_non_exhaustive()
    }
}

impl Pipe {
    pub(super) fn start(command: &ChildCommand) -> Result<Self, StdioError> {
        let (child, input, output) = command.start().map_err(|source| StdioError::Start {
            program: command.program.to_string_lossy().into_owned(),
            source,
        })?;
        let ends = Ends { input, output: Lines::new(output, ANSWER_BYTES_MAX) };
        Ok(Self { ends: Mutex::new(ends), child })
    }

    pub(super) async fn end(self) {
        drop(self.ends);
        let _status = self.child.stop(GRACE, GRACE).await;
    }
}

#[async_trait]
impl Wire for Pipe {
    async fn ask(&self, _: &'static str, id: &str, request: Vec<u8>) -> Result<String, ListError> {
        let mut ends = self.ends.lock().await;
        ends.say(request).await?;
        let id = IdKey::Text(id.into());
        for _ in 0..LINES_MAX {
            let line = ends.hear().await?;
            if is_answer_to(&line, &id) {
                return Ok(line);
            }
            if let Some(answer) = answer_to(&line) {
                ends.say(answer).await?;
            }
        }
        Err(ListError::TooMany)
    }

    async fn tell(&self, message: Vec<u8>) -> Result<(), ListError> {
        self.ends.lock().await.say(message).await
    }

    fn speak(&self, _: &str) {}
}

impl Ends {
    async fn say(&mut self, mut message: Vec<u8>) -> Result<(), ListError> {
        message.push(b'\n');
        self.input.write_all(&message).await.map_err(|_| ListError::Unreachable)?;
        self.input.flush().await.map_err(|_| ListError::Unreachable)
    }

    async fn hear(&mut self) -> Result<String, ListError> {
        loop {
            match self.output.next() {
                Some(Line::Whole(line)) => {
                    return String::from_utf8(line.to_vec()).map_err(|_| ListError::Unreadable);
                }
                Some(Line::TooLong(_)) => return Err(ListError::Unreadable),
                None => {}
            }
            if !self.output.fill().await.map_err(|_| ListError::Unreachable)? {
                return Err(ListError::Unreachable);
            }
        }
    }
}

/// What a server asks its client: whether it is there gets a yes, everything else a no.
fn answer_to(line: &str) -> Option<Vec<u8>> {
    let object = Object::read_leniently(line).ok()?;
    let (method, id) = (object.get("method")?, object.get("id")?.get());
    let said = if text_of(method).is_some_and(|method| method == "ping") {
        r#""result":{}"#
    } else {
        r#""error":{"code":-32601,"message":"not supported by this client"}"#
    };
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},{said}}}"#).into_bytes())
}
