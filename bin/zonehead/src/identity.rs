//! The listener's own certificate.
//!
//! A head takes unseal keys over TLS before it can open any CA, so it keeps a small CA of its own
//! beside the store: `listener-ca.pem` for clients to trust and `listener-ca.key` (0600). Nobody
//! chooses names below this CA but the configuration (C3). The listener's certificate itself is
//! made at each start, lives 30 days, and is made again after 20.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_ports::{Clock, Random, random};
use zone_types::{Secret, Timestamp};
use zone_x509::{
    AltName, Certificate, CertificatePlan, KeyUsage, Kind, NameConstraints, Purpose, Serial,
    Subject,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Life of a listener's certificate.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Age at which it is made again: two thirds of its life.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(20 * 24 * 3600);
/// Life of the CA.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Allowed difference to the clients' clocks.
const SKEW: Duration = Duration::from_secs(3600);

/// A chain, leaf first, and its key.
pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The CA beside the store.
pub(crate) struct ListenerCa {
    certificate: Certificate,
    key: PrivateKey,
    file: PathBuf,
}

impl ListenerCa {
    /// Reads the CA in `directory`, or makes it.
    pub(crate) fn open(
        directory: &Path,
        zone: &str,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> anyhow::Result<Self> {
        let file = directory.join("listener-ca.pem");
        let key_file = directory.join("listener-ca.key");
        if !key_file.exists() {
            make(&file, &key_file, zone, clock.now(), random)
                .with_context(|| format!("making the listener's CA {}", file.display()))?;
        }
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("reading the listener's CA {}", file.display()))?;
        let certificate = Certificate::from_pem(&text)
            .with_context(|| format!("{} is not a certificate", file.display()))?;
        let text = std::fs::read_to_string(&key_file)
            .with_context(|| format!("reading {}", key_file.display()))?;
        let key = PrivateKey::from_pem(Secret::new(text).expose())
            .map_err(|_| anyhow!("{} is not a private key", key_file.display()))?;
        Ok(Self {
            certificate,
            key,
            file,
        })
    }

    /// Where clients find the certificate.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// SHA-256 of the certificate, for people to compare.
    pub(crate) fn fingerprint(&self) -> String {
        zone_x509::colon_hex(&zone_crypto::hash::sha256(self.certificate.der()))
    }

    /// A certificate for `names`, and its key.
    pub(crate) fn issue(
        &self,
        names: &[String],
        now: Timestamp,
        random: &dyn Random,
    ) -> anyhow::Result<Pair> {
        let key = PrivateKey::generate(KeyType::P256)?;
        let names: Vec<AltName> = names.iter().map(|name| alt_name(name)).collect();
        let plan = CertificatePlan {
            kind: Kind::Leaf { says_so: true },
            serial: Serial::from_random(random::bytes(random)),
            subject: Subject::common("zonehead"),
            names,
            not_before: now.minus(SKEW),
            not_after: now.plus(LIFE).min(self.certificate.not_after()),
            usage: KeyUsage::DIGITAL_SIGNATURE,
            purposes: vec![Purpose::SERVER_AUTH],
            policies: Vec::new(),
            issuer_urls: Vec::new(),
            ocsp_urls: Vec::new(),
            crl_points: Vec::new(),
        };
        let leaf = plan.sign(
            key.public_key(),
            &self.certificate,
            &self.key,
            self.key.algorithm().scheme(),
        )?;
        let chain = vec![leaf.into(), self.certificate.der().to_vec().into()];
        let key = PrivatePkcs8KeyDer::from(key.to_pkcs8_der()?.expose().clone());
        Ok((chain, key.into()))
    }
}

/// The key is written last and decides: without it everything is made again.
fn make(
    file: &Path,
    key_file: &Path,
    zone: &str,
    now: Timestamp,
    random: &dyn Random,
) -> anyhow::Result<()> {
    let key = PrivateKey::generate(KeyType::P256)?;
    let plan = CertificatePlan {
        kind: Kind::Authority {
            path_length: Some(0),
            constraints: NameConstraints::default(),
        },
        serial: Serial::from_random(random::bytes(random)),
        subject: Subject::common(&format!("zonehead listener of {zone}")),
        names: Vec::new(),
        not_before: now.minus(DAY),
        not_after: now.plus(CA_LIFE),
        usage: KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN,
        purposes: Vec::new(),
        policies: Vec::new(),
        issuer_urls: Vec::new(),
        ocsp_urls: Vec::new(),
        crl_points: Vec::new(),
    };
    let certificate = Certificate::from_der(&plan.self_sign(&key, key.algorithm().scheme())?)?;
    write_whole(file, certificate.pem().as_bytes(), 0o644)?;
    write_whole(key_file, key.to_pem_pkcs8()?.expose().as_bytes(), 0o600)
}

/// Writes a file so that a crash leaves the old one or the new one, on stable storage.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let attempt = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::File::open(directory)?.sync_all()
    };
    attempt().with_context(|| format!("writing {}", path.display()))
}

/// A chain and key from files.
pub(crate) fn from_files(chain: &Path, key: &Path) -> anyhow::Result<Pair> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
        .with_context(|| format!("reading {}", chain.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not PEM", chain.display()))?;
    if certificates.is_empty() {
        anyhow::bail!("{} holds no certificate", chain.display());
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("reading the private key {}", key.display()))?;
    Ok((certificates, key))
}

fn alt_name(name: &str) -> AltName {
    match name.parse::<IpAddr>() {
        Ok(address) => AltName::Ip(address),
        Err(_) => AltName::Dns(name.to_ascii_lowercase()),
    }
}
