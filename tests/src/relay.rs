//! A line between two peers that breaks where a test says so: to the byte, in either direction.
//!
//! It speaks no HTTP beyond where a request begins and ends, and changes nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// One read.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As if the peer had closed it.
    Fin,
    /// As if the peer had gone.
    Reset,
}

/// What happens to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Only so many bytes of the request arrive.
    CutRequest(usize, Cut),
    /// Only so many bytes of the answer arrive.
    CutAnswer(usize, Cut),
    /// The request waits this long, and so does the answer.
    Delay(Duration),
    /// The request arrives, and then again over a connection of its own, which gets the second answer.
    Twice,
    /// The request is taken and never answered, until the sender gives up.
    Hang,
}

/// What a test waits for on the line.
#[derive(Debug, Default)]
struct Plan {
    /// A part of the next request to be harmed, and how.
    armed: Option<(Vec<u8>, Fault)>,
    /// A part of the next request to be measured.
    measured: Option<Vec<u8>>,
    /// How many bytes it and its answer had.
    measure: Option<(usize, usize)>,
}

/// A listener in front of another one. Ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    stopped: Arc<AtomicBool>,
}

impl Relay {
    /// In front of `target`, and honest until told otherwise.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let address = listener.local_addr()?;
        let (plan, stopped) = (Arc::<Mutex<Plan>>::default(), Arc::new(AtomicBool::new(false)));
        let (shared, flag) = (Arc::clone(&plan), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), plan) = (client, Arc::clone(&shared)) else { continue };
                std::thread::spawn(move || {
                    // Broken is what it is for.
                    let _ended = Line { client, target, plan }.run();
                });
            }
        });
        Ok(Self { address, plan, stopped })
    }

    /// The same place on this line as `url` is on the other end.
    pub fn url(&self, url: &str) -> Result<String> {
        let rest = url.strip_prefix("http://").context("not an http URL")?;
        let path = rest.find('/').map_or("", |start| &rest[start..]);
        Ok(format!("http://{}{path}", self.address))
    }

    /// Does harm to the next request that holds `part`.
    pub fn harm(&self, part: &str, fault: Fault) {
        lock(&self.plan).armed = Some((part.as_bytes().to_vec(), fault));
    }

    /// Whether the harm was done.
    #[must_use]
    pub fn is_harmed(&self) -> bool {
        lock(&self.plan).armed.is_none()
    }

    /// Looks how long the next request with `part`, and its answer, are.
    pub fn measure(&self, part: &str) {
        let mut plan = lock(&self.plan);
        (plan.measured, plan.measure) = (Some(part.as_bytes().to_vec()), None);
    }

    /// The bytes of request and answer, once both have come.
    #[must_use]
    pub fn measured(&self) -> Option<(usize, usize)> {
        lock(&self.plan).measure
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
    }
}

/// One connection.
struct Line {
    client: TcpStream,
    target: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

impl Line {
    fn run(mut self) -> Result<()> {
        let mut server = TcpStream::connect(self.target)?;
        server.set_nodelay(true)?;
        self.client.set_nodelay(true)?;
        // The fault of the exchange that is under way, for the thread that carries answers.
        let under_way = Arc::new(Mutex::new(UnderWay::default()));
        let answers = Answers {
            server: server.try_clone()?,
            client: self.client.try_clone()?,
            under_way: Arc::clone(&under_way),
            plan: Arc::clone(&self.plan),
        };
        std::thread::spawn(move || {
            let _ended = answers.carry();
        });
        while let Some(request) = next_request(&mut self.client)? {
            let fault = self.fault(&request);
            *lock(&under_way) = UnderWay { fault, answered: 0, is_measured: self.is_measured(&request) };
            if lock(&under_way).is_measured {
                lock(&self.plan).measure = Some((request.len(), 0));
            }
            match fault {
                Some(Fault::CutRequest(bytes, cut)) => {
                    server.write_all(&request[..bytes.min(request.len())])?;
                    end(&server, cut);
                    end(&self.client, cut);
                    return Ok(());
                }
                Some(Fault::Delay(delay)) => std::thread::sleep(delay),
                Some(Fault::Twice) => repeat(self.target, &request)?,
                Some(Fault::Hang) => {
                    let mut rest = [0; 1];
                    let _gave_up = self.client.read(&mut rest);
                    return Ok(());
                }
                Some(Fault::CutAnswer(..)) | None => {}
            }
            server.write_all(&request)?;
        }
        let _half = server.shutdown(Shutdown::Write);
        Ok(())
    }

    fn fault(&self, request: &[u8]) -> Option<Fault> {
        lock(&self.plan).armed.take_if(|(part, _)| holds(request, part)).map(|(_, fault)| fault)
    }

    fn is_measured(&self, request: &[u8]) -> bool {
        lock(&self.plan).measured.take_if(|part| holds(request, part)).is_some()
    }
}

#[derive(Debug, Default)]
struct UnderWay {
    fault: Option<Fault>,
    answered: usize,
    is_measured: bool,
}

/// The way back.
struct Answers {
    server: TcpStream,
    client: TcpStream,
    under_way: Arc<Mutex<UnderWay>>,
    plan: Arc<Mutex<Plan>>,
}

impl Answers {
    fn carry(mut self) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = self.server.read(&mut chunk).unwrap_or(0);
            if count == 0 {
                let _half = self.client.shutdown(Shutdown::Both);
                return Ok(());
            }
            let (fault, before) = {
                let mut under_way = lock(&self.under_way);
                let before = under_way.answered;
                under_way.answered += count;
                if under_way.is_measured
                    && let Some((_, answer)) = &mut lock(&self.plan).measure
                {
                    *answer = before + count;
                }
                (under_way.fault, before)
            };
            match fault {
                Some(Fault::CutAnswer(bytes, cut)) if before + count >= bytes => {
                    self.client.write_all(&chunk[..bytes.saturating_sub(before)])?;
                    end(&self.client, cut);
                    end(&self.server, cut);
                    return Ok(());
                }
                Some(Fault::Delay(delay)) => std::thread::sleep(delay),
                Some(Fault::CutAnswer(..) | Fault::CutRequest(..) | Fault::Twice | Fault::Hang) | None => {}
            }
            self.client.write_all(&chunk[..count])?;
        }
    }
}

/// The bytes of one request; `None`: the connection has ended.
fn next_request(client: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&chunk[..count]);
        if length(&request).is_some_and(|length| request.len() >= length) {
            return Ok(Some(request));
        }
    }
}

/// How long a request is with its body, once its head is there.
fn length(request: &[u8]) -> Option<usize> {
    let head = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(head + body.unwrap_or(0))
}

/// Sends a request over a connection of its own, and waits until its answer began.
fn repeat(target: SocketAddr, request: &[u8]) -> Result<()> {
    let mut again = TcpStream::connect(target)?;
    again.write_all(request)?;
    // A held call is not answered before its other half is.
    again.set_read_timeout(Some(Duration::from_millis(200)))?;
    let _answered = again.read(&mut [0; 1]);
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _unset = again.set_read_timeout(Some(Duration::from_secs(30)));
        let _read = again.read_to_end(&mut rest);
    });
    Ok(())
}

fn end(stream: &TcpStream, cut: Cut) {
    if cut == Cut::Reset {
        // With nothing to linger for, a close is a reset.
        let _reset = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
        // Closed when the last handle is dropped; until then nothing more is written.
        let _read = stream.shutdown(Shutdown::Read);
    } else {
        let _closed = stream.shutdown(Shutdown::Both);
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
