//! Public keys as issuers publish them: RFC 7517, 7518, 8037.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// An issuer with more keys than this does not rotate them.
const KEYS_MAX: usize = 100;

/// How a token may be signed. Nothing with a shared secret, and not `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Ed25519,
}

impl Algorithm {
    pub(super) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }
}

/// What a key consists of.
#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that signatures can be checked with.
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    /// The one that it is for, if the issuer says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// Why a signature counts for nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongSignature;

/// The keys that an issuer published together.
#[derive(Debug)]
pub(super) struct KeySet(Vec<std::sync::Arc<Key>>);

#[derive(Deserialize)]
struct WrittenSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Keys that are for something else, or not understood, are left out. `None`: this is no set of keys.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let written: WrittenSet = serde_json::from_slice(bytes).ok()?;
        if written.keys.len() > KEYS_MAX {
            return None;
        }
        Some(Self(written.keys.into_iter().filter_map(Key::read).map(std::sync::Arc::new).collect()))
    }

    /// The one key with that name for that algorithm. Two of them are none: which is meant cannot be told.
    pub(super) fn find(&self, id: &str, algorithm: Algorithm) -> Option<std::sync::Arc<Key>> {
        let mut found = self.0.iter().filter(|key| key.id == id && key.is_for(algorithm));
        let (first, second) = (found.next()?, found.next());
        second.is_none().then(|| std::sync::Arc::clone(first))
    }
}

impl Key {
    fn read(written: Value) -> Option<Self> {
        let written: Written = serde_json::from_value(written).ok()?;
        let signs = written.used_for.as_deref().is_none_or(|used_for| used_for == "sig");
        let verifies = written.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        // A key for an algorithm that is not known here is not for any other.
        let algorithm = match &written.alg {
            None => None,
            Some(name) => Some(Algorithm::read(name)?),
        };
        let material = Material::read(&written)?;
        Some(Self { id: written.kid?, algorithm, material })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }

    /// Whether `signature` is one of `message` by this key.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        if !self.is_for(algorithm) {
            return Err(WrongSignature);
        }
        let rsa = |parameters: &RsaParameters| self.material.verify_rsa(parameters, message, signature);
        let point = |algorithm| self.material.verify_point(algorithm, message, signature);
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => point(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => point(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::Ed25519 => point(&signature::ED25519),
        }
    }
}

impl Material {
    fn read(written: &Written) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", None) => Some(Self::Rsa { n: bytes(&written.n)?, e: bytes(&written.e)? }),
            ("EC", Some("P-256")) => {
                uncompressed(&bytes(&written.x)?, &bytes(&written.y)?, 32).map(Self::P256)
            }
            ("EC", Some("P-384")) => {
                uncompressed(&bytes(&written.x)?, &bytes(&written.y)?, 48).map(Self::P384)
            }
            ("OKP", Some("Ed25519")) => bytes(&written.x).filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    const fn fits(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self, Self::Rsa { .. }),
            Algorithm::Es256 => matches!(self, Self::P256(_)),
            Algorithm::Es384 => matches!(self, Self::P384(_)),
            Algorithm::Ed25519 => matches!(self, Self::Ed25519(_)),
        }
    }

    fn verify_rsa(
        &self,
        parameters: &RsaParameters,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        match self {
            Self::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).map_err(|_| WrongSignature)
            }
            Self::P256(_) | Self::P384(_) | Self::Ed25519(_) => Err(WrongSignature),
        }
    }

    fn verify_point(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        match self {
            Self::P256(point) | Self::P384(point) | Self::Ed25519(point) => {
                let key = UnparsedPublicKey::new(algorithm, point);
                key.verify(message, signature).map_err(|_| WrongSignature)
            }
            Self::Rsa { .. } => Err(WrongSignature),
        }
    }
}

/// SEC 1, section 2.3.3.
fn uncompressed(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}
