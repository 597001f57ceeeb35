//! Where a platform waits for notifications.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver as Queue, SyncSender, sync_channel},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// So much is posted before somebody looks.
const QUEUED_MAX: usize = 16;

/// Takes what is posted to it, in order.
pub(crate) struct Receiver {
    base: String,
    posted: Queue<(String, Value)>,
}

impl Receiver {
    pub(crate) fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let base = format!("http://{}", listener.local_addr().context("no address")?);
        let (sender, posted) = sync_channel(QUEUED_MAX);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _broken_off = take(&stream, &sender);
            }
        });
        Ok(Self { base, posted })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What is posted next, which has to be to `path`.
    pub(crate) fn next(&self, path: &str) -> Result<Value> {
        let (to, body) = self.posted.recv_timeout(PATIENCE).context("nothing was posted")?;
        if to != path {
            bail!("posted to {to}: {body}");
        }
        Ok(body)
    }
}

fn take(mut stream: &TcpStream, posted: &SyncSender<(String, Value)>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).context("no path")?.to_owned();
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    posted.send((path, serde_json::from_slice(&body)?))?;
    stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(())
}
