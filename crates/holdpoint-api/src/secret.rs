use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Digits of a 256-bit number in base 62.
const SECRET_DIGITS: usize = 43;

/// Digits of the checksum.
const CHECKSUM_DIGITS: usize = 6;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The longest secret of a foreign Gate, in bytes.
const FOREIGN_BYTES_MAX: usize = 8 * 1024;

/// An agent's key: `sg_`, 256 bits in base 62, and a checksum by which typing errors and secret scanners know it.
///
/// Shown once, stored as [`SecretHash`]. `Debug` shows the last four characters only.
#[derive(Clone)]
pub struct ApiKey(String);

/// The key of a caller of the tool servers' proxies: `hpc_`, and the rest as in an [`ApiKey`]. It says nothing to Gate.
///
/// Shown once, stored as [`SecretHash`]. `Debug` shows the last four characters only.
#[derive(Clone)]
pub struct CallerKey(String);

/// A one-time proof of an approval. Opaque: what it is good for is known to Gate alone.
#[derive(Clone)]
pub struct ApprovalToken(String);

/// The SHA-256 of a key or token: what is stored and compared.
///
/// A plain hash is enough, since what is hashed has 256 random bits.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

/// Why a text is no key or token. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretFormatError {
    /// It does not start as such a secret does.
    #[error("this does not start with `{0}`")]
    Prefix(&'static str),
    /// Length or characters are wrong.
    #[error("this has the wrong length or characters")]
    Shape,
    /// The checksum does not fit: a typing error, or cut off.
    #[error("the checksum does not fit, so something is mistyped or cut off")]
    Checksum,
}

/// What keys that are made here have in common.
macro_rules! made_here {
    ($($key:ident starts $prefix:literal;)+) => {$(
        impl $key {
            /// How every key starts.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a key from 32 random bytes, which the caller takes from the system's source.
            #[must_use]
            pub fn generate(random: &[u8; 32]) -> Self {
                Self(render(Self::PREFIX, random))
            }

            /// Reads a key that was made here.
            pub fn parse(text: &str) -> Result<Self, SecretFormatError> {
                check(Self::PREFIX, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The key itself, for the header it goes into and for showing it the one time.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// What is stored of it.
            #[must_use]
            pub fn hash(&self) -> SecretHash {
                SecretHash::of(&self.0)
            }

            /// The last four characters, by which people tell keys apart.
            #[must_use]
            pub fn hint(&self) -> &str {
                self.0.get(self.0.len().saturating_sub(4)..).unwrap_or_default()
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($key), "(…{})"), self.hint())
            }
        }
    )+};
}

made_here! {
    ApiKey starts "sg_";
    CallerKey starts "hpc_";
}

impl ApiKey {
    /// Takes the key of any Gate, for sending it: visible ASCII, so that it fits into a header.
    pub fn foreign(text: &str) -> Result<Self, SecretFormatError> {
        check_foreign(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl ApprovalToken {
    /// How the tokens of our own Gate start.
    pub const PREFIX: &'static str = "sgt_";

    /// Makes a token from 32 random bytes, which the caller takes from the system's source.
    #[must_use]
    pub fn generate(random: &[u8; 32]) -> Self {
        Self(render(Self::PREFIX, random))
    }

    /// Takes the token of any Gate.
    pub fn foreign(text: impl Into<String>) -> Result<Self, SecretFormatError> {
        let text = text.into();
        check_foreign(&text)?;
        Ok(Self(text))
    }

    /// The token itself, for the one body it goes into.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl SecretHash {
    /// Takes a stored hash.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of any secret text with at least 256 random bits, such as a session id.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl PartialEq for SecretHash {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl PartialEq for ApiKey {
    /// In constant time, over the hashes.
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for ApiKey {}

impl PartialEq for ApprovalToken {
    /// In constant time, over the hashes.
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for ApprovalToken {}

impl fmt::Debug for ApprovalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApprovalToken(…)")
    }
}

impl Serialize for ApprovalToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ApprovalToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::foreign(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn render(prefix: &str, random: &[u8; 32]) -> String {
    let mut text = String::with_capacity(prefix.len() + SECRET_DIGITS + CHECKSUM_DIGITS);
    text.push_str(prefix);
    text.push_str(&base62(random));
    let sum = checksum(&text);
    text.push_str(&sum);
    text
}

fn check(prefix: &'static str, text: &str) -> Result<(), SecretFormatError> {
    let secret = text.strip_prefix(prefix).ok_or(SecretFormatError::Prefix(prefix))?;
    if secret.len() != SECRET_DIGITS + CHECKSUM_DIGITS
        || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(SecretFormatError::Shape);
    }
    let (body, sum) = text.split_at(text.len() - CHECKSUM_DIGITS);
    if checksum(body) == sum { Ok(()) } else { Err(SecretFormatError::Checksum) }
}

fn check_foreign(text: &str) -> Result<(), SecretFormatError> {
    if text.is_empty() || text.len() > FOREIGN_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(SecretFormatError::Shape);
    }
    Ok(())
}

/// 256 bits as 43 digits, most significant first, by long division.
fn base62(bytes: &[u8; 32]) -> String {
    let mut number = *bytes;
    let mut digits = [b'0'; SECRET_DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut remainder: u16 = 0;
        for byte in &mut number {
            let value = (remainder << 8) | u16::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = digit_of(remainder);
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The first 32 bits of the text's SHA-256 as six digits.
fn checksum(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut number = hash.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    let mut digits = [b'0'; CHECKSUM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = digit_of(u16::try_from(number % 62).unwrap_or_default());
        number /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

fn digit_of(value: u16) -> u8 {
    ALPHABET.get(usize::from(value)).copied().unwrap_or(b'0')
}
