//! As much of PostgreSQL's protocol as one statement needs, over the server's own socket, where it asks for no password.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Running, USER};

/// Version 3.0.
const PROTOCOL: i32 = 196_608;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const MESSAGE_MAX: usize = 1 << 20;

/// Runs one statement, whose result nobody wants.
pub(super) fn execute(server: &Running, statement: &str) {
    session(server).and_then(|mut session| query(&mut session, statement)).expect(statement);
}

pub(super) fn answers(server: &Running) -> bool {
    session(server).is_ok()
}

fn session(server: &Running) -> io::Result<UnixStream> {
    let socket = server.folder.join("server").join(format!(".s.PGSQL.{}", server.port));
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut startup = PROTOCOL.to_be_bytes().to_vec();
    startup.extend(format!("user\0{USER}\0database\0postgres\0\0").bytes());
    stream.write_all(&length_of(&startup))?;
    stream.write_all(&startup)?;
    until_ready(&mut stream)?;
    Ok(stream)
}

fn query(stream: &mut UnixStream, statement: &str) -> io::Result<()> {
    let body = format!("{statement}\0");
    stream.write_all(b"Q")?;
    stream.write_all(&length_of(body.as_bytes()))?;
    stream.write_all(body.as_bytes())?;
    until_ready(stream)
}

/// Lengths count themselves.
fn length_of(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).expect("a short message").to_be_bytes()
}

fn until_ready(stream: &mut UnixStream) -> io::Result<()> {
    let mut refused = None;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).expect("a length").saturating_sub(4);
        assert!(length <= MESSAGE_MAX, "the server says too much");
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        match kind {
            b'E' => refused = Some(io::Error::other(String::from_utf8_lossy(&body).replace('\0', " "))),
            b'Z' => return refused.map_or(Ok(()), Err),
            _ => {}
        }
    }
}
