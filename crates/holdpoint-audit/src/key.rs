//! The key that signs checkpoints.

use crate::{FileError, OpenError, line::lower_hex};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::Path,
    str::FromStr,
    sync::Arc,
};

/// What stands before an Ed25519 public key in DER (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----\n";
const PEM_END: &str = "\n-----END PUBLIC KEY-----\n";

/// Signs checkpoints.
#[derive(Clone)]
pub struct AuditKey(Arc<Ed25519KeyPair>);

impl AuditKey {
    /// The key in the file `path` (PKCS#8), made on first use; only this user may read it.
    pub fn load_or_make(path: &Path) -> Result<Self, OpenError> {
        match fs::read(path) {
            Ok(bytes) => Self::read(&bytes, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(FileError::new("read", path)(error).into()),
        }
    }

    /// The half that others may have.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        bytes
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Self, OpenError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes);
        Ok(Self(Arc::new(pair.map_err(|_| OpenError::KeyDamaged(path.to_owned()))?)))
    }

    fn make(path: &Path) -> Result<Self, OpenError> {
        let bytes =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| OpenError::Randomness)?;
        let draft = path.with_extension(format!("draft-{}", std::process::id()));
        write_private(&draft, bytes.as_ref()).map_err(FileError::new("write", &draft))?;
        // A link, not a rename: of two processes that start at once, the second must not replace the key that the first
        // already uses.
        let linked = fs::hard_link(&draft, path);
        let _tidied = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(FileError::new("write", path)(error).into())
            }
            Ok(()) | Err(_) => Self::read(&fs::read(path).map_err(FileError::new("read", path))?, path),
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditKey").field(&self.public()).finish()
    }
}

/// Checks what an [`AuditKey`] signed. As text: 64 hexadecimal digits; it is also read from PEM.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// PEM (SPKI), as other tools take it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der: Vec<u8> = SPKI.iter().chain(&self.0).copied().collect();
        format!("{PEM_BEGIN}{}{PEM_END}", STANDARD.encode(der))
    }

    /// From 64 hexadecimal digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    fn from_pem(text: &str) -> Option<Self> {
        let base64 = text.strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
        let der = STANDARD.decode(base64).ok()?;
        der.strip_prefix(&SPKI)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a public key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key: neither 64 lower-case hexadecimal digits nor PEM")]
pub struct NotAPublicKey;

impl FromStr for PublicKey {
    type Err = NotAPublicKey;

    fn from_str(text: &str) -> Result<Self, NotAPublicKey> {
        Self::read(text).or_else(|| Self::from_pem(text)).ok_or(NotAPublicKey)
    }
}
