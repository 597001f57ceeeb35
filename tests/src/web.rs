//! HTTP by hand: for what no public client would send.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::lines::PATIENCE;

/// A request. `Host` and `Content-Length` are the right ones unless a header says otherwise.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, if it is text.
    pub text: String,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self { method: "GET", url: url.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A request to take something away.
    #[must_use]
    pub fn delete(url: &str) -> Self {
        Self { method: "DELETE", ..Self::get(url) }
    }

    /// A request with one.
    #[must_use]
    pub fn post(url: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self { method: "POST", body: body.into(), ..Self::get(url) };
        request.header("content-type", content_type)
    }

    /// A message to an MCP endpoint.
    #[must_use]
    pub fn mcp(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::post(url, "application/json", body).header("accept", "application/json, text/event-stream")
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sends it. An answer counts even if it came before all of the body was taken.
    pub fn send(&self) -> Result<Answer> {
        let (stream, sender) = self.begin()?;
        let answer = read(&stream);
        let _closed = stream.shutdown(Shutdown::Both);
        let _ended = sender.join();
        answer
    }

    /// Sends it, and hangs up as soon as `enough` of the answer is there. Returns that, as it came.
    pub fn cut(&self, enough: impl Fn(&str) -> bool) -> Result<String> {
        let (mut stream, sender) = self.begin()?;
        let (mut text, mut chunk) = (String::new(), vec![0; 64 * 1024]);
        while !enough(&text) {
            let count = stream.read(&mut chunk).with_context(|| format!("not enough: {text}"))?;
            if count == 0 {
                bail!("it ended before that: {text}");
            }
            text.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        let _closed = stream.shutdown(Shutdown::Both);
        let _ended = sender.join();
        Ok(text)
    }

    fn begin(&self) -> Result<(TcpStream, JoinHandle<()>)> {
        let rest = self.url.strip_prefix("http://").context("not an http URL")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(authority).with_context(|| format!("cannot reach {authority}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = format!("{} /{path} HTTP/1.1\r\nconnection: close\r\n", self.method);
        let own = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        if !own("host") {
            write!(head, "host: {authority}\r\n")?;
        }
        if self.method == "POST" && !own("content-length") {
            write!(head, "content-length: {}\r\n", self.body.len())?;
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        head.push_str("\r\n");
        let mut sending = stream.try_clone()?;
        let body = self.body.clone();
        let sender = std::thread::spawn(move || {
            // A server that has seen enough may close: then there is an answer to read.
            let _enough = sending.write_all(head.as_bytes()).and_then(|()| sending.write_all(&body));
        });
        Ok((stream, sender))
    }
}

impl Answer {
    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or the last event's if it is a stream; `null` if it is neither.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut events = self.text.lines().filter_map(|line| line.strip_prefix("data:"));
        let text = events.next_back().unwrap_or(&self.text);
        serde_json::from_str(text).unwrap_or(Value::Null)
    }
}

/// A URL at which nobody listens: a port that was free a moment ago.
pub fn nobody() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(format!("http://{}", listener.local_addr()?))
}

fn read(mut stream: &TcpStream) -> Result<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if bytes.is_empty() => {
                return Err(error).context("the connection broke without an answer");
            }
            // Cut off, after an answer had come.
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("not an answer: {text}") };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let text = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status: status.context("no status")?, headers, text })
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(data) = rest.get(..size).filter(|data| !data.is_empty()) else { break };
        text.push_str(data);
        body = rest.get(size..).unwrap_or_default().trim_start_matches("\r\n");
    }
    text
}
