//! Keys that tokens are signed with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, PublicKeyComponents},
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// For tests alone: everybody can read it.
const RSA: &[u8] = include_bytes!("rsa-test-key.der");

/// A key of an issuer.
#[derive(Debug)]
pub struct SigningKey {
    id: String,
    algorithm: &'static str,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// On the curve P-256.
    #[must_use]
    pub fn es256(id: &str) -> Self {
        Self::ecdsa(id, "ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// On the curve P-384.
    #[must_use]
    pub fn es384(id: &str) -> Self {
        Self::ecdsa(id, "ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ecdsa(id: &str, name: &'static str, algorithm: &'static signature::EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let bytes = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, bytes.as_ref(), &random).expect("the same key");
        Self { id: id.to_owned(), algorithm: name, pair: Pair::Ecdsa(Box::new(pair)) }
    }

    /// On the curve Ed25519.
    #[must_use]
    pub fn ed25519(id: &str) -> Self {
        let bytes = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(bytes.as_ref()).expect("the same key");
        Self { id: id.to_owned(), algorithm: "EdDSA", pair: Pair::Ed25519(Box::new(pair)) }
    }

    /// The one RSA key, with 2048 bits, for an algorithm that begins with `RS` or `PS`.
    #[must_use]
    pub fn rsa(id: &str, algorithm: &'static str) -> Self {
        let pair = RsaKeyPair::from_der(RSA).expect("a key");
        Self { id: id.to_owned(), algorithm, pair: Pair::Rsa(Box::new(pair)) }
    }

    /// What the issuer publishes of it (RFC 7517).
    #[must_use]
    pub fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "kid": self.id, "use": "sig", "crv": curve, "x": text(x), "y": text(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "kid": self.id, "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": self.id, "n": text(&n), "e": text(&e) })
            }
        }
    }

    /// An access token that says `claims`.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({ "alg": self.algorithm, "kid": self.id, "typ": "at+jwt" }), claims)
    }

    /// The same with another header. It is signed with this key, whatever the header says.
    #[must_use]
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token that is signed as if the public key were a shared secret.
    #[must_use]
    pub fn confused(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "HS256", "kid": self.id }), claims);
        let secret = match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public().as_ref().to_vec(),
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", part(header), part(claims))
}
