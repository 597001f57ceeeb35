//! The file of keys: who has one, by the hash of it.

mod file;

use file::{Entry, File};
use holdpoint_api::CallerKey;
use holdpoint_core::{Principal, ServerName, StillThere};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How old what was read may be when a request comes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Digits of a key's hash by which a principal names the key.
const ID_DIGITS: usize = 12;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// More callers than this, and the file is looked at too often for its size.
const CALLERS_MAX: usize = 1_000;

/// The keys of one data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    file: File,
    read: Mutex<Option<(Instant, Arc<Read>)>>,
}

/// What the file said.
#[derive(Debug)]
struct Read {
    bytes: Vec<u8>,
    by_hash: HashMap<[u8; 32], Arc<Caller>>,
}

/// Somebody with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What the operator calls it.
    pub name: String,
    /// The servers that it may call; `None`: all of them.
    pub servers: Option<Vec<ServerName>>,
    /// Since when.
    pub created_at: Timestamp,
    /// The last four characters of its key, by which people tell keys apart.
    pub hint: String,
    id: String,
}

/// The keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The operating system says no.
    #[error("cannot read or write `{}`", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what was written here.
    #[error("`{}` is damaged", .0.display())]
    Damaged(PathBuf),
    /// Whoever can write to it can make keys.
    #[error("others may write to `{}`", .0.display())]
    Open(PathBuf),
    /// Another process changes the keys and does not come to an end.
    #[error("another process holds `{}`", .0.display())]
    Locked(PathBuf),
    /// It would not be told apart from others, or cannot be written in a principal.
    #[error("`{0}` cannot be the name of a caller")]
    Name(String),
    /// There is a caller of that name.
    #[error("there is a caller `{0}` already")]
    Taken(String),
    /// There is no caller of that name.
    #[error("there is no caller `{0}`")]
    Nobody(String),
    /// The limit is reached.
    #[error("there are {CALLERS_MAX} callers already")]
    Full,
    /// The runtime is gone.
    #[error("the process is ending")]
    Ending,
}

impl KeyRingError {
    /// What to do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the data folder and its permissions",
            Self::Damaged(_) => {
                "restore it from a backup, or remove it and make new keys with `holdpoint callers create`"
            }
            Self::Open(_) => "make it yours alone with `chmod 600`, and revoke callers that you do not know",
            Self::Locked(_) => "try again in a moment",
            Self::Name(_) => {
                "use up to 64 letters, digits, `-`, `_` and `.`, and begin with a letter or digit"
            }
            Self::Taken(_) => {
                "revoke it first, or make a second caller and revoke this one once it is not used"
            }
            Self::Nobody(_) => "`holdpoint callers list` names them",
            Self::Full => "revoke callers that are not used any more",
            Self::Ending => "start it again",
        }
    }
}

impl Caller {
    fn new(entry: Entry) -> Option<([u8; 32], Self)> {
        let Entry { name, key_sha256, hint, servers, created_at } = entry;
        let mut hash = [0; 32];
        hex::decode_to_slice(&key_sha256, &mut hash).ok()?;
        let id = key_sha256.get(..ID_DIGITS)?.to_ascii_lowercase();
        check_name(&name).ok()?;
        let servers = servers.map(|servers| servers.into_iter().map(ServerName::new).collect());
        Some((hash, Self { name, servers, created_at, hint, id }))
    }

    /// Who it is to the kernel: this key, not whoever has the name.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::new(format!("caller:{}#{}", self.name, self.id))
    }

    pub(crate) fn may_call(&self, server: &ServerName) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(server))
    }
}

impl KeyRing {
    /// The keys in a data folder; none if nobody has made one.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(Arc::new(Ring { file: File::new(folder), read: Mutex::new(None) }))
    }

    /// Makes a caller, and the key that it is known by from now on, from 32 random bytes of the system's source.
    pub fn create(
        &self,
        name: &str,
        servers: Option<Vec<ServerName>>,
        random: &[u8; 32],
        now: Timestamp,
    ) -> Result<(CallerKey, Caller), KeyRingError> {
        check_name(name)?;
        let key = CallerKey::generate(random);
        let servers: Option<Vec<String>> =
            servers.map(|servers| servers.iter().map(ToString::to_string).collect());
        let entry = Entry {
            name: name.to_owned(),
            key_sha256: hex::encode(key.hash().as_bytes()),
            hint: key.hint().to_owned(),
            servers,
            created_at: now,
        };
        let (_, caller) = Caller::new(entry.clone()).ok_or_else(|| KeyRingError::Name(name.to_owned()))?;
        self.0.file.change(|entries| {
            if entries.iter().any(|entry| entry.name == name) {
                return Err(KeyRingError::Taken(name.to_owned()));
            }
            if entries.len() >= CALLERS_MAX {
                return Err(KeyRingError::Full);
            }
            entries.push(entry);
            Ok(())
        })?;
        Ok((key, caller))
    }

    /// Takes a caller's key back. Once this returns, and is seen, it opens nothing.
    pub fn revoke(&self, name: &str) -> Result<Caller, KeyRingError> {
        self.0.file.change(|entries| {
            let at = entries.iter().position(|entry| entry.name == name);
            let at = at.ok_or_else(|| KeyRingError::Nobody(name.to_owned()))?;
            let revoked = Caller::new(entries.remove(at));
            revoked.map(|(_, caller)| caller).ok_or_else(|| self.0.file.damaged())
        })
    }

    /// Everybody with a key, by name.
    pub fn list(&self) -> Result<Vec<Caller>, KeyRingError> {
        let read = self.0.look()?;
        let mut callers: Vec<Caller> = read.by_hash.values().map(|caller| (**caller).clone()).collect();
        callers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(callers)
    }

    /// Whose key it is.
    pub(crate) async fn find(&self, key: &CallerKey) -> Result<Option<Arc<Caller>>, KeyRingError> {
        let read = self.read(LOOK_EVERY).await?;
        Ok(read.by_hash.get(key.hash().as_bytes()).map(Arc::clone))
    }

    /// Whether a principal has a key at this moment.
    pub(crate) async fn stands(&self, principal: &Principal) -> Result<StillThere, KeyRingError> {
        let read = self.read(Duration::ZERO).await?;
        let there = read.by_hash.values().any(|caller| caller.principal() == *principal);
        Ok(if there { StillThere::Yes } else { StillThere::No })
    }

    /// What the file says, or said `age_max` ago.
    async fn read(&self, age_max: Duration) -> Result<Arc<Read>, KeyRingError> {
        if let Some((at, read)) = &*self.0.kept()
            && at.elapsed() < age_max
        {
            return Ok(Arc::clone(read));
        }
        let ring = Arc::clone(&self.0);
        let look = tokio::task::spawn_blocking(move || ring.look());
        look.await.map_err(|_| KeyRingError::Ending)?
    }
}

impl Ring {
    fn kept(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<Read>)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file; takes it apart only if it says something else than before.
    fn look(&self) -> Result<Arc<Read>, KeyRingError> {
        // Before, so that what is written meanwhile is looked at again.
        let at = Instant::now();
        let bytes = self.file.read()?;
        let same = self.kept().as_ref().map(|(_, read)| Arc::clone(read)).filter(|read| read.bytes == bytes);
        let read = match same {
            Some(read) => read,
            None => Arc::new(self.take_apart(bytes)?),
        };
        let mut kept = self.kept();
        // Two may read at once: the later one knows more.
        if kept.as_ref().is_none_or(|(before, _)| *before <= at) {
            *kept = Some((at, Arc::clone(&read)));
        }
        Ok(read)
    }

    fn take_apart(&self, bytes: Vec<u8>) -> Result<Read, KeyRingError> {
        let mut by_hash = HashMap::new();
        for entry in self.file.parse(&bytes)? {
            let (hash, caller) = Caller::new(entry).ok_or_else(|| self.file.damaged())?;
            if by_hash.insert(hash, Arc::new(caller)).is_some() {
                return Err(self.file.damaged());
            }
        }
        Ok(Read { bytes, by_hash })
    }
}

/// `:` and `#` have a meaning in principals.
fn check_name(name: &str) -> Result<(), KeyRingError> {
    let usual = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let fits = name.len() <= NAME_BYTES_MAX && name.chars().all(usual);
    if fits && name.starts_with(|char: char| char.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(KeyRingError::Name(name.to_owned()))
}
