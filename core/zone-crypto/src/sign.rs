//! Signing keys: generate, import, export, sign, verify (RSA, ECDSA, Ed25519).
//!
//! What holds: a [`PrivateKey`] and a [`PublicKey`] were checked when they were made (known
//! curve, point on it; RSA modulus of 2048 to 8192 bits, odd exponent of at least 65537), so
//! nothing later has to ask again. Both are parsed once and reused for every signature.
//!
//! Absent by intent: SHA-1, RSA keys below 2048 bits, curves beyond P-256, P-384 and P-521,
//! explicit curve parameters, encrypted PEM, ECDSA with a hash that does not belong to the curve
//! (accepted when verifying what others signed, never made).
//!
//! Key generation and randomized signatures draw from the library's own generator. Generating an
//! RSA key takes 0.1 to several seconds: call it on a blocking thread.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::pem::LineEnding;
use der::{Decode, Reader, SliceReader};
use zeroize::Zeroizing;
use zone_types::Secret;

/// The kinds of key that can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with a 2048-bit modulus.
    Rsa2048,
    /// RSA with a 3072-bit modulus.
    Rsa3072,
    /// RSA with a 4096-bit modulus.
    Rsa4096,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl KeyType {
    /// The type for Vault's `key_type` (`rsa`, `ec`, `ed25519`) and `key_bits` (0 is the default:
    /// 2048 and 256). `None` for what is not supported.
    pub fn from_family(family: &str, bits: u32) -> Option<Self> {
        Some(match (family, bits) {
            ("rsa", 0 | 2048) => Self::Rsa2048,
            ("rsa", 3072) => Self::Rsa3072,
            ("rsa", 4096) => Self::Rsa4096,
            ("ec", 0 | 256) => Self::P256,
            ("ec", 384) => Self::P384,
            ("ec", 521) => Self::P521,
            ("ed25519", _) => Self::Ed25519,
            _ => return None,
        })
    }

    /// The algorithm of a key of this type.
    pub const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::Rsa2048 => KeyAlgorithm::Rsa { bits: 2048 },
            Self::Rsa3072 => KeyAlgorithm::Rsa { bits: 3072 },
            Self::Rsa4096 => KeyAlgorithm::Rsa { bits: 4096 },
            Self::P256 => KeyAlgorithm::P256,
            Self::P384 => KeyAlgorithm::P384,
            Self::P521 => KeyAlgorithm::P521,
            Self::Ed25519 => KeyAlgorithm::Ed25519,
        }
    }
}

/// What a key is, wherever it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA; the modulus has `bits` bits, 2048 to 8192.
    Rsa {
        /// Length of the modulus in bits.
        bits: u32,
    },
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// `rsa`, `ec` or `ed25519`, as Vault names them.
    pub const fn family(self) -> &'static str {
        match self {
            Self::Rsa { .. } => "rsa",
            Self::P256 | Self::P384 | Self::P521 => "ec",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Bits of the modulus or of the curve; 256 for Ed25519.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa { bits } => bits,
            Self::P256 | Self::Ed25519 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// How a key of this kind signs if nobody asks for something else: RSA with PKCS#1 v1.5 and
    /// SHA-256, ECDSA with the curve's hash.
    pub const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Rsa { .. } => SignatureScheme::RsaPkcs1(Hash::Sha256),
            Self::P256 => SignatureScheme::Ecdsa(Hash::Sha256),
            Self::P384 => SignatureScheme::Ecdsa(Hash::Sha384),
            Self::P521 => SignatureScheme::Ecdsa(Hash::Sha512),
            Self::Ed25519 => SignatureScheme::Ed25519,
        }
    }

    /// The scheme for an RSA key with a chosen hash and padding. Other keys have one scheme only
    /// and ignore the choice, as Vault does for Ed25519.
    pub const fn scheme_with(self, hash: Hash, pss: bool) -> SignatureScheme {
        match (self, pss) {
            (Self::Rsa { .. }, false) => SignatureScheme::RsaPkcs1(hash),
            (Self::Rsa { .. }, true) => SignatureScheme::RsaPss(hash),
            _ => self.scheme(),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// The hash of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    RsaPkcs1(Hash),
    /// RSASSA-PSS with MGF1 of the same hash and a salt as long as the hash (RFC 4055).
    RsaPss(Hash),
    /// ECDSA; the signature is a DER `SEQUENCE` of two integers (RFC 5758).
    Ecdsa(Hash),
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl SignatureScheme {
    /// Every scheme that can be verified.
    pub const ALL: [Self; 10] = [
        Self::RsaPkcs1(Hash::Sha256),
        Self::RsaPkcs1(Hash::Sha384),
        Self::RsaPkcs1(Hash::Sha512),
        Self::RsaPss(Hash::Sha256),
        Self::RsaPss(Hash::Sha384),
        Self::RsaPss(Hash::Sha512),
        Self::Ecdsa(Hash::Sha256),
        Self::Ecdsa(Hash::Sha384),
        Self::Ecdsa(Hash::Sha512),
        Self::Ed25519,
    ];

    /// The DER `AlgorithmIdentifier` (RFC 4055, 5758, 8410).
    pub const fn algorithm_identifier(self) -> &'static [u8] {
        match self {
            Self::RsaPkcs1(Hash::Sha256) => {
                b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
            }
            Self::RsaPkcs1(Hash::Sha384) => {
                b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"
            }
            Self::RsaPkcs1(Hash::Sha512) => {
                b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00"
            }
            Self::RsaPss(Hash::Sha256) => PSS_SHA256,
            Self::RsaPss(Hash::Sha384) => PSS_SHA384,
            Self::RsaPss(Hash::Sha512) => PSS_SHA512,
            Self::Ecdsa(Hash::Sha256) => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
            Self::Ecdsa(Hash::Sha384) => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
            Self::Ecdsa(Hash::Sha512) => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04",
            Self::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
        }
    }

    /// The scheme of a DER `AlgorithmIdentifier`, byte for byte; `None` for anything else.
    pub fn from_algorithm_identifier(der: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.algorithm_identifier() == der)
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPkcs1(hash) => write!(f, "RSA with {hash}"),
            Self::RsaPss(hash) => write!(f, "RSA-PSS with {hash}"),
            Self::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

const PSS_SHA256: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa2\x03\x02\x01\x20";
const PSS_SHA384: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa2\x03\x02\x01\x30";
const PSS_SHA512: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa2\x03\x02\x01\x40";

/// Why a key was refused. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not a key in any form that is read here.
    #[error("this is not a key in PEM or DER (PKCS#8, SEC 1, PKCS#1 or SubjectPublicKeyInfo)")]
    Malformed,
    /// The PEM is encrypted.
    #[error("the private key is encrypted; decrypt it first (openssl pkey)")]
    Encrypted,
    /// An algorithm or curve that is not supported.
    #[error("unsupported key: use RSA, P-256, P-384, P-521 or Ed25519")]
    Unsupported,
    /// Too weak, or outside the limits.
    #[error("weak or odd key: RSA needs 2048 to 8192 bits and an odd exponent from 65537")]
    Weak,
    /// The parts of the key do not belong together, or the point is not on the curve.
    #[error("the key is inconsistent")]
    Inconsistent,
    /// The key cannot sign by the scheme that was asked for.
    #[error("this key cannot sign with that scheme")]
    WrongScheme,
    /// The crypto library failed for no fault of the caller.
    #[error("the crypto library failed")]
    Library,
}

/// The signature does not belong to this message, key and scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct BadSignature;

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key, parsed and checked. Not `Clone`: share it behind an `Arc`.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, [redacted])", self.public.algorithm)
    }
}

impl PrivateKey {
    /// A new key. RSA takes 0.1 to several seconds of CPU: use a blocking thread.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Library`] only.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyFault> {
        let pair = match key_type {
            KeyType::Rsa2048 => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa),
            KeyType::Rsa3072 => RsaKeyPair::generate(KeySize::Rsa3072).map(Pair::Rsa),
            KeyType::Rsa4096 => RsaKeyPair::generate(KeySize::Rsa4096).map(Pair::Rsa),
            KeyType::P256 => EcdsaKeyPair::generate(P256_SIGNING).map(Pair::Ec),
            KeyType::P384 => EcdsaKeyPair::generate(P384_SIGNING).map(Pair::Ec),
            KeyType::P521 => EcdsaKeyPair::generate(P521_SIGNING).map(Pair::Ec),
            KeyType::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Self::from_pair(pair.map_err(|_| KeyFault::Library)?)
    }

    /// Reads an unencrypted PKCS#8 key (RFC 5958) and checks it.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyFault> {
        let (algorithm, curve, _) = pkcs8_parts(der).map_err(|_| KeyFault::Malformed)?;
        let pair = match algorithm {
            oid::RSA => RsaKeyPair::from_pkcs8(der).map(Pair::Rsa),
            oid::EC => {
                let signing = curve
                    .and_then(signing_for_curve)
                    .ok_or(KeyFault::Unsupported)?;
                EcdsaKeyPair::from_pkcs8(signing, der).map(Pair::Ec)
            }
            oid::ED25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519),
            _ => return Err(KeyFault::Unsupported),
        };
        Self::from_pair(pair.map_err(|_| refusal(algorithm))?)
    }

    /// Reads the first private key of a PEM text: PKCS#8, SEC 1 `EC PRIVATE KEY` or PKCS#1
    /// `RSA PRIVATE KEY`. Other blocks (certificates, EC parameters) are passed over.
    pub fn from_pem(text: &str) -> Result<Self, KeyFault> {
        let block = private_block(text)?;
        let (label, der) =
            der::pem::decode_vec(block.as_bytes()).map_err(|_| KeyFault::Malformed)?;
        let der = Zeroizing::new(der);
        match label {
            "PRIVATE KEY" => Self::from_pkcs8_der(&der),
            "RSA PRIVATE KEY" => {
                let pair = RsaKeyPair::from_der(&der).map_err(|_| refusal(oid::RSA))?;
                Self::from_pair(Pair::Rsa(pair))
            }
            "EC PRIVATE KEY" => {
                let pair = [P256_SIGNING, P384_SIGNING, P521_SIGNING]
                    .into_iter()
                    .find_map(|alg| EcdsaKeyPair::from_private_key_der(alg, &der).ok())
                    .ok_or(KeyFault::Unsupported)?;
                Self::from_pair(Pair::Ec(pair))
            }
            _ => Err(KeyFault::Malformed),
        }
    }

    fn from_pair(pair: Pair) -> Result<Self, KeyFault> {
        let spki = match &pair {
            Pair::Rsa(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::Ec(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::Ed25519(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
        };
        let public = PublicKey::from_spki(spki.map_err(|_| KeyFault::Library)?.as_ref())?;
        Ok(Self { pair, public })
    }

    /// The key as PKCS#8 (version 1, RFC 5208).
    pub fn to_pkcs8_der(&self) -> Result<Secret<Vec<u8>>, KeyFault> {
        let bytes = match &self.pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|d| d.as_ref().to_vec()),
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|d| d.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|d| d.as_ref().to_vec()),
        };
        Ok(Secret::new(bytes.map_err(|_| KeyFault::Library)?))
    }

    /// `PRIVATE KEY` PEM (Vault's `private_key_format=pkcs8`).
    pub fn to_pem_pkcs8(&self) -> Result<Secret<String>, KeyFault> {
        pem("PRIVATE KEY", self.to_pkcs8_der()?.expose())
    }

    /// The key in its own older form, DER: SEC 1 for EC, PKCS#1 for RSA; PKCS#8 for Ed25519,
    /// which has no other (Vault's `private_key_format=der`).
    pub fn to_der_traditional(&self) -> Result<Secret<Vec<u8>>, KeyFault> {
        match &self.pair {
            Pair::Ed25519(_) => self.to_pkcs8_der(),
            Pair::Ec(pair) => {
                let der = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key());
                Ok(Secret::new(
                    der.map_err(|_| KeyFault::Library)?.as_ref().to_vec(),
                ))
            }
            Pair::Rsa(_) => {
                let pkcs8 = self.to_pkcs8_der()?;
                let (_, _, inner) = pkcs8_parts(pkcs8.expose()).map_err(|_| KeyFault::Library)?;
                Ok(Secret::new(inner.to_vec()))
            }
        }
    }

    /// PEM as Vault prints it by default: `RSA PRIVATE KEY`, `EC PRIVATE KEY`, and `PRIVATE KEY`
    /// for Ed25519.
    pub fn to_pem_traditional(&self) -> Result<Secret<String>, KeyFault> {
        let label = match &self.pair {
            Pair::Rsa(_) => "RSA PRIVATE KEY",
            Pair::Ec(_) => "EC PRIVATE KEY",
            Pair::Ed25519(_) => "PRIVATE KEY",
        };
        pem(label, self.to_der_traditional()?.expose())
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The public half as DER `SubjectPublicKeyInfo`.
    pub fn public_key_spki_der(&self) -> &[u8] {
        self.public.spki_der()
    }

    /// What kind of key this is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.public.algorithm
    }

    /// Signs `message` (not its digest).
    ///
    /// # Errors
    ///
    /// [`KeyFault::WrongScheme`] if the scheme is not one of this key.
    pub fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding = rsa_encoding(scheme).ok_or(KeyFault::WrongScheme)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| KeyFault::Library)?;
                Ok(signature)
            }
            _ if scheme != self.algorithm().scheme() => Err(KeyFault::WrongScheme),
            Pair::Ec(pair) => match pair.sign(&random, message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(KeyFault::Library),
            },
            Pair::Ed25519(pair) => match pair.try_sign(message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(KeyFault::Library),
            },
        }
    }
}

/// A public key, checked for strength.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Box<[u8]>,
    /// Where the key proper (the BIT STRING's content) begins in `spki`; it runs to the end.
    key_at: usize,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm)
    }
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280) and refuses weak, unknown and odd keys.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        let (algorithm, parameters, key) = spki_parts(der).map_err(|_| KeyFault::Malformed)?;
        let algorithm = match algorithm {
            oid::RSA => {
                // RFC 3279: the parameters are NULL.
                if parameters != Some(AnyRef::NULL) {
                    return Err(KeyFault::Malformed);
                }
                rsa_strength(key)?
            }
            oid::EC => {
                let curve = parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
                let algorithm = curve
                    .and_then(algorithm_for_curve)
                    .ok_or(KeyFault::Unsupported)?;
                // Uncompressed points only: neither webpki nor rustls reads another form.
                if key.len() != 1 + 2 * algorithm.bits().div_ceil(8) as usize || key[0] != 4 {
                    return Err(KeyFault::Unsupported);
                }
                algorithm
            }
            oid::ED25519 if parameters.is_none() && key.len() == 32 => KeyAlgorithm::Ed25519,
            oid::ED25519 => return Err(KeyFault::Malformed),
            _ => return Err(KeyFault::Unsupported),
        };
        let verification = verification(algorithm, algorithm.scheme()).ok_or(KeyFault::Library)?;
        UnparsedPublicKey::new(verification, key)
            .parse()
            .map_err(|_| KeyFault::Inconsistent)?;
        Ok(Self {
            algorithm,
            spki: der.into(),
            key_at: der.len() - key.len(),
        })
    }

    /// Reads `PUBLIC KEY` PEM.
    pub fn from_pem(text: &str) -> Result<Self, KeyFault> {
        match der::pem::decode_vec(text.trim().as_bytes()) {
            Ok(("PUBLIC KEY", der)) => Self::from_spki(&der),
            _ => Err(KeyFault::Malformed),
        }
    }

    /// What kind of key this is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The whole DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The content of `subjectPublicKey`, over which key identifiers are taken.
    pub fn key_bytes(&self) -> &[u8] {
        &self.spki[self.key_at..]
    }

    /// Checks a signature over `message`. ECDSA with any of the three hashes is verified on each
    /// curve, since foreign requests come that way.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let algorithm = verification(self.algorithm, scheme).ok_or(BadSignature)?;
        UnparsedPublicKey::new(algorithm, self.key_bytes())
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

mod oid {
    use der::asn1::ObjectIdentifier;

    pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    pub(super) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
}

static P256_SIGNING: &EcdsaSigningAlgorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
static P384_SIGNING: &EcdsaSigningAlgorithm = &signature::ECDSA_P384_SHA384_ASN1_SIGNING;
static P521_SIGNING: &EcdsaSigningAlgorithm = &signature::ECDSA_P521_SHA512_ASN1_SIGNING;

fn signing_for_curve(curve: ObjectIdentifier) -> Option<&'static EcdsaSigningAlgorithm> {
    match curve {
        oid::P256 => Some(P256_SIGNING),
        oid::P384 => Some(P384_SIGNING),
        oid::P521 => Some(P521_SIGNING),
        _ => None,
    }
}

fn algorithm_for_curve(curve: ObjectIdentifier) -> Option<KeyAlgorithm> {
    match curve {
        oid::P256 => Some(KeyAlgorithm::P256),
        oid::P384 => Some(KeyAlgorithm::P384),
        oid::P521 => Some(KeyAlgorithm::P521),
        _ => None,
    }
}

fn rsa_encoding(scheme: SignatureScheme) -> Option<&'static dyn RsaEncoding> {
    Some(match scheme {
        SignatureScheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
        SignatureScheme::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
        SignatureScheme::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
        SignatureScheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_SHA256,
        SignatureScheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_SHA384,
        SignatureScheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

fn verification(
    key: KeyAlgorithm,
    scheme: SignatureScheme,
) -> Option<&'static dyn VerificationAlgorithm> {
    use signature as s;
    Some(match (key, scheme) {
        (KeyAlgorithm::Rsa { .. }, SignatureScheme::RsaPkcs1(hash)) => match hash {
            Hash::Sha256 => &s::RSA_PKCS1_2048_8192_SHA256,
            Hash::Sha384 => &s::RSA_PKCS1_2048_8192_SHA384,
            Hash::Sha512 => &s::RSA_PKCS1_2048_8192_SHA512,
        },
        (KeyAlgorithm::Rsa { .. }, SignatureScheme::RsaPss(hash)) => match hash {
            Hash::Sha256 => &s::RSA_PSS_2048_8192_SHA256,
            Hash::Sha384 => &s::RSA_PSS_2048_8192_SHA384,
            Hash::Sha512 => &s::RSA_PSS_2048_8192_SHA512,
        },
        (KeyAlgorithm::P256, SignatureScheme::Ecdsa(hash)) => match hash {
            Hash::Sha256 => &s::ECDSA_P256_SHA256_ASN1,
            Hash::Sha384 => &s::ECDSA_P256_SHA384_ASN1,
            Hash::Sha512 => &s::ECDSA_P256_SHA512_ASN1,
        },
        (KeyAlgorithm::P384, SignatureScheme::Ecdsa(hash)) => match hash {
            Hash::Sha256 => &s::ECDSA_P384_SHA256_ASN1,
            Hash::Sha384 => &s::ECDSA_P384_SHA384_ASN1,
            Hash::Sha512 => &s::ECDSA_P384_SHA512_ASN1,
        },
        (KeyAlgorithm::P521, SignatureScheme::Ecdsa(hash)) => match hash {
            Hash::Sha256 => &s::ECDSA_P521_SHA256_ASN1,
            Hash::Sha384 => &s::ECDSA_P521_SHA384_ASN1,
            Hash::Sha512 => &s::ECDSA_P521_SHA512_ASN1,
        },
        (KeyAlgorithm::Ed25519, SignatureScheme::Ed25519) => &s::ED25519,
        _ => return None,
    })
}

/// The library does not say why it refused a key; for RSA it is most often the size.
fn refusal(algorithm: ObjectIdentifier) -> KeyFault {
    if algorithm == oid::RSA {
        KeyFault::Weak
    } else {
        KeyFault::Inconsistent
    }
}

fn rsa_strength(key: &[u8]) -> Result<KeyAlgorithm, KeyFault> {
    let (modulus, exponent) = rsa_parts(key).map_err(|_| KeyFault::Malformed)?;
    let (modulus, exponent) = (modulus.as_bytes(), exponent.as_bytes());
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return Err(KeyFault::Malformed);
    };
    let bits = u32::try_from(modulus.len())
        .ok()
        .and_then(|bytes| bytes.checked_mul(8))
        .map(|bits| bits - first.leading_zeros())
        .ok_or(KeyFault::Weak)?;
    // 65537 is three bytes; anything of four and more is above it.
    let exponent_ok = match exponent {
        [high, _, low] => *high >= 1 && low & 1 == 1,
        [_, _, _, .., low] => exponent.len() <= 4 && low & 1 == 1,
        _ => false,
    };
    if !(2048..=8192).contains(&bits) || last & 1 == 0 || !exponent_ok {
        return Err(KeyFault::Weak);
    }
    Ok(KeyAlgorithm::Rsa { bits })
}

fn rsa_parts(key: &[u8]) -> der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(key)?;
    let parts = reader.sequence(|r| Ok::<_, der::Error>((r.decode()?, r.decode()?)))?;
    reader.finish()?;
    Ok(parts)
}

type SpkiParts<'a> = (ObjectIdentifier, Option<AnyRef<'a>>, &'a [u8]);

fn spki_parts(der: &[u8]) -> der::Result<SpkiParts<'_>> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|r| {
        let (oid, parameters) =
            r.sequence(|a| Ok::<_, der::Error>((a.decode()?, Option::<AnyRef<'_>>::decode(a)?)))?;
        let key: BitStringRef<'_> = r.decode()?;
        let key = key
            .as_bytes()
            .ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
        Ok::<_, der::Error>((oid, parameters, key))
    })?;
    reader.finish()?;
    Ok(parts)
}

type Pkcs8Parts<'a> = (ObjectIdentifier, Option<ObjectIdentifier>, &'a [u8]);

/// Algorithm, curve if there is one, and the inner key of a PKCS#8 document.
fn pkcs8_parts(der: &[u8]) -> der::Result<Pkcs8Parts<'_>> {
    let outer = AnyRef::from_der(der)?;
    outer.sequence(|r| {
        let _version: u8 = r.decode()?;
        let (oid, parameters) =
            r.sequence(|a| Ok::<_, der::Error>((a.decode()?, Option::<AnyRef<'_>>::decode(a)?)))?;
        let inner = <&OctetStringRef>::decode(r)?;
        // Attributes and the public key (RFC 5958) are the library's to check.
        while !r.is_finished() {
            AnyRef::decode(r)?;
        }
        Ok((
            oid,
            parameters.and_then(|p| p.decode_as().ok()),
            inner.as_bytes(),
        ))
    })
}

/// The first private-key block of a PEM text, delimiters included.
fn private_block(text: &str) -> Result<&str, KeyFault> {
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let (begin, end) = (
            format!("-----BEGIN {label}-----"),
            format!("-----END {label}-----"),
        );
        if let Some(from) = text.find(&begin) {
            let rest = &text[from..];
            let to = rest.find(&end).ok_or(KeyFault::Malformed)?;
            let block = &rest[..to + end.len()];
            let encrypted = block.contains("Proc-Type: 4,ENCRYPTED");
            return if encrypted {
                Err(KeyFault::Encrypted)
            } else {
                Ok(block)
            };
        }
    }
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(KeyFault::Encrypted);
    }
    Err(KeyFault::Malformed)
}

fn pem(label: &'static str, der: &[u8]) -> Result<Secret<String>, KeyFault> {
    der::pem::encode_string(label, LineEnding::LF, der)
        .map(Secret::new)
        .map_err(|_| KeyFault::Library)
}
