//! The till over HTTP: one thread for each connection.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use super::{Drawer, Reply};

/// Ends when dropped.
#[derive(Debug)]
pub struct TillServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    heads: Heads,
}

/// Every header line that came, in lower case.
type Heads = Arc<Mutex<Vec<String>>>;

impl TillServer {
    pub(super) fn start(drawer: Drawer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let heads = Heads::default();
        let written = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), drawer) = (stream, drawer.clone()) else { continue };
                let heads = Arc::clone(&written);
                std::thread::spawn(move || {
                    // Whoever broke the connection knows.
                    let _ended = serve(&stream, &drawer, &heads);
                    let _closed = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, stopped, heads })
    }

    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Every header line that came, in lower case.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TillServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, drawer: &Drawer, heads: &Heads) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some((method, length)) = head(&mut reader, heads)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if method != "POST" {
            respond(stream, "405 Method Not Allowed", "")?;
            continue;
        }
        let message = serde_json::from_slice(&body).context("not JSON")?;
        match drawer.answer(&message)? {
            Reply::Say(answer) => respond(stream, "200 OK", &answer.to_string())?,
            Reply::SayAndKill(answer) => {
                respond(stream, "200 OK", &answer.to_string())?;
                drawer.proxy.kill()?;
            }
            Reply::SayPart(answer, bytes) => {
                let text = answer.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                let all = format!("{head}{text}").into_bytes();
                let mut stream = stream;
                return stream.write_all(&all[..bytes.min(all.len())]).context("nobody listens");
            }
            Reply::Nothing => respond(stream, "202 Accepted", "")?,
            Reply::Vanish => return Ok(()),
        }
    }
    Ok(())
}

/// The method and the length of the body; `None`: the connection has ended.
fn head(reader: &mut impl BufRead, heads: &Heads) -> Result<Option<(String, usize)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(Some((method, length)));
        }
        heads.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_ascii_lowercase());
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("no length")?;
        }
    }
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nmcp-session-id: till\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).context("nobody listens")
}
