//! An OAuth issuer on a socket: metadata, keys, and tokens as honest or as wrong as a test wants them.

mod key;

pub use key::SigningKey;

use crate::lock;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Where the metadata of an issuer without a path is (RFC 8414).
const METADATA: &str = "/.well-known/oauth-authorization-server";
/// Where the keys are.
const KEYS: &str = "/keys";

/// Ends when dropped.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    key: Mutex<Arc<SigningKey>>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: HashMap<String, (u16, String)>,
    asked: Vec<String>,
    is_down: bool,
    is_over: bool,
}

impl Issuer {
    /// With one ES256 key, `key-1`.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Mutex<Shared>>::default();
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().flatten() {
                    if lock(&shared).is_over {
                        return;
                    }
                    // Whoever left does not want the answer.
                    let _gone = answer(&stream, &shared);
                    let _closed = stream.shutdown(Shutdown::Both);
                }
            }
        });
        let issuer = Self { address, shared, key: Mutex::new(Arc::new(SigningKey::es256("key-1"))) };
        let metadata = json!({ "issuer": issuer.url(), "jwks_uri": issuer.keys_url() });
        issuer.answer(METADATA, 200, &metadata.to_string());
        let key = issuer.key();
        issuer.publish(&[&key]);
        issuer
    }

    /// Its identifier.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its keys are.
    #[must_use]
    pub fn keys_url(&self) -> String {
        format!("{}{KEYS}", self.url())
    }

    /// The key that it signs with now.
    #[must_use]
    pub fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&lock(&self.key))
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub fn rotate(&self, key: SigningKey) {
        self.publish(&[&key]);
        *lock(&self.key) = Arc::new(key);
    }

    /// Publishes these keys, whatever it signs with.
    pub fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.answer(KEYS, 200, &json!({ "keys": keys }).to_string());
    }

    /// What it says at a path from now on.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        lock(&self.shared).answers.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// From now on it closes every connection without a word, or answers again.
    pub fn set_down(&self, is_down: bool) {
        lock(&self.shared).is_down = is_down;
    }

    /// The paths that it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared).asked.clone()
    }

    /// What a good token for `audience` says at `now`, in seconds since 1970: good for five minutes.
    #[must_use]
    pub fn claims(&self, audience: &str, now: i64) -> Value {
        json!({ "iss": self.url(), "sub": "agent-7", "aud": audience, "exp": now + 300, "iat": now, "scope": "tools" })
    }

    /// A token that says `claims`.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.key().token(claims)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        lock(&self.shared).is_over = true;
        let _woken = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = {
        let mut shared = lock(shared);
        shared.asked.push(path.clone());
        if shared.is_down {
            return Ok(());
        }
        shared.answers.get(&path).cloned().unwrap_or((404, String::new()))
    };
    // A redirect needs a place to lead to.
    let location = if (300..400).contains(&status) { format!("location: {body}\r\n") } else { String::new() };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} -\r\n{location}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())
}
