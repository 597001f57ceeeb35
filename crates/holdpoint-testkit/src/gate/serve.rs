//! Just enough HTTP/1.1 to be wrong in every way a test asks for: each byte of an answer passes through here.

use super::{
    Decision, Moment, Recorded, Script, Shared,
    script::Reply,
    state::{Answer, endpoint_of},
};
use serde_json::Value;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a loopback socket accepts");
        shared.change(|state| state.connections += 1);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let mut connection = Connection { stream: BufReader::new(stream), shared };
            // An error here is a client that went away, which is its right.
            while connection.turn().await.unwrap_or(false) {}
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    shared: Arc<Shared>,
}

impl Connection {
    /// Serves one request; `false`: the connection is over.
    async fn turn(&mut self) -> io::Result<bool> {
        let Some(request) = self.read_request().await? else {
            return Ok(false);
        };
        let script = self.shared.change(|state| {
            state.recorded.push(request.clone());
            state.next_script(request.endpoint)
        });
        let Some(Script { takes_effect, reply, meanwhile }) = script else {
            self.wait_for_decision(&request).await?;
            let honest = self.honest(&request);
            return self.send(&honest).await;
        };
        self.happens(meanwhile.as_ref(), Moment::Before);
        let honest = if takes_effect { self.honest(&request) } else { Vec::new() };
        self.happens(meanwhile.as_ref(), Moment::After);
        match reply {
            Reply::Honest => self.send(&honest).await,
            Reply::Hang => {
                self.keep_waiting(Duration::MAX, |_| true).await?;
                Ok(false)
            }
            Reply::Close => Ok(false),
            Reply::Cut(bytes) => {
                self.send(honest.get(..bytes).unwrap_or(&honest)).await?;
                Ok(false)
            }
            Reply::Twice => self.send(&honest.repeat(2)).await,
            Reply::Edited(edit) => {
                let body = honest.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0) + 4;
                let mut json = serde_json::from_slice(honest.get(body..).unwrap_or_default())?;
                edit(&mut json);
                self.send(&self.rendered(200, &[], json.to_string().as_bytes())).await
            }
            Reply::Bytes(bytes) => {
                self.send(&bytes).await?;
                Ok(false)
            }
            Reply::Answer { status, headers, body } => {
                self.send(&self.rendered(status, &headers, &body)).await
            }
        }
    }

    fn happens(&self, meanwhile: Option<&(Moment, String, Decision)>, moment: Moment) {
        if let Some((when, thread, decision)) = meanwhile
            && *when == moment
        {
            self.shared.change(|state| state.decide(thread, decision.clone()));
        }
    }

    fn honest(&self, request: &Recorded) -> Vec<u8> {
        let Answer(status, body) = self.shared.change(|state| state.answer(request));
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text,
            body => body.to_string(),
        };
        self.rendered(status, &[], body.as_bytes())
    }

    fn rendered(&self, status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
        let announced = crate::lock(&self.shared.state).long_poll_seconds;
        let announced = announced.map(|seconds| ("gate-long-poll".to_owned(), seconds.to_string()));
        let feed = crate::lock(&self.shared.state).feed.announced;
        let feed = feed.then(|| ("gate-decision-feed".to_owned(), "1".to_owned()));
        for (name, value) in headers.iter().chain(&announced).chain(&feed) {
            head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(true)
    }

    async fn wait_for_decision(&mut self, request: &Recorded) -> io::Result<()> {
        let wait = crate::lock(&self.shared.state).keeps_waiting(request);
        match wait {
            Some(seconds) => {
                let undecided = |state: &super::State| state.keeps_waiting(request).is_some();
                self.keep_waiting(Duration::from_secs(seconds), undecided).await
            }
            None => Ok(()),
        }
    }

    /// Waits while `undecided`, at most `time`, and while the client is there.
    async fn keep_waiting(
        &mut self,
        time: Duration,
        undecided: impl Fn(&super::State) -> bool,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let _waiting = Waiting::new(&shared);
        tokio::select! {
            () = shared.until(|state| !undecided(state)) => Ok(()),
            () = tokio::time::sleep(time) => Ok(()),
            // A client sends nothing while it waits: whatever can be read is its farewell.
            _ = self.stream.fill_buf() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// `None`: the client closed the connection between requests.
    async fn read_request(&mut self) -> io::Result<Option<Recorded>> {
        let mut first = String::new();
        if self.stream.read_line(&mut first).await? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let endpoint = endpoint_of(&method, &target);
        Ok(Some(Recorded { endpoint, method, target, headers, body }))
    }
}

struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.change(|state| state.kept_waiting += 1);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.kept_waiting -= 1);
    }
}
