//! Handshakes with clients of every kind. Certificates are put together by hand: no tool makes
//! them as odd as clients have them.

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zone_crypto::sign::{KeyType, PrivateKey, SignatureScheme as Scheme};

use super::*;

/// One DER element.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..128 => out.push(u8::try_from(short).unwrap()),
        long @ 128..256 => out.extend([0x81, u8::try_from(long).unwrap()]),
        long => {
            out.push(0x82);
            out.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

const SEQUENCE: u8 = 0x30;

/// A self-signed Ed25519 certificate without extensions, of version 1 or 3.
fn certificate(key: &PrivateKey, version3: bool) -> CertificateDer<'static> {
    let ed25519 = der(SEQUENCE, &[&[6, 3, 0x2b, 0x65, 0x70]]);
    let common_name = der(SEQUENCE, &[&[6, 3, 0x55, 4, 3], &der(0x0c, &[b"anybody"])]);
    let name = der(SEQUENCE, &[&der(0x31, &[&common_name])]);
    let (from, to) = (
        der(0x17, &[b"260101000000Z"]),
        der(0x17, &[b"490101000000Z"]),
    );
    let version = match version3 {
        true => der(0xa0, &[&[2, 1, 2]]),
        false => Vec::new(),
    };
    let body = der(
        SEQUENCE,
        &[
            &version,
            &[2, 1, 1],
            &ed25519,
            &name,
            &der(SEQUENCE, &[&from, &to]),
            &name,
            key.public_key_spki_der(),
        ],
    );
    let signature = key.sign(Scheme::Ed25519, &body).unwrap();
    let signature = der(3, &[&[0], &signature]);
    der(SEQUENCE, &[&body, &ed25519, &signature]).into()
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::Ed25519).unwrap()
}

fn pkcs8(key: &PrivateKey) -> PrivateKeyDer<'static> {
    let der = key.to_pkcs8_der().unwrap().expose().clone();
    PrivatePkcs8KeyDer::from(der).into()
}

/// A client that takes any server and shows what it was given.
#[derive(Debug)]
struct Client(Option<Arc<CertifiedKey>>);

impl Client {
    /// Shows `certificate`, proves `key`.
    fn with(certificate: CertificateDer<'static>, key: &PrivateKey) -> Self {
        let signer = any_supported_type(&pkcs8(key)).unwrap();
        Self(Some(Arc::new(CertifiedKey::new(vec![certificate], signer))))
    }
}

impl ResolvesClientCert for Client {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What both sides agreed on.
#[derive(Debug, PartialEq)]
struct Agreed {
    version: Option<ProtocolVersion>,
    alpn: Option<Vec<u8>>,
    group: Option<NamedGroup>,
    /// The leaf that the server showed.
    server: CertificateDer<'static>,
    /// Whether the server saw a client certificate.
    client: bool,
}

async fn shake(
    server: Arc<ServerConfig>,
    client: Client,
    version: &'static SupportedProtocolVersion,
) -> Result<Agreed, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_cert_resolver(Arc::new(client));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("zone.example").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let (accepted, connected) = tokio::join!(
        TlsAcceptor::from(server).accept(far),
        connector.connect(name, near)
    );
    let accepted = accepted.map_err(|error| error.to_string())?;
    let connected = connected.map_err(|error| error.to_string())?;
    let (seen, by) = (connected.get_ref().1, accepted.get_ref().1);
    Ok(Agreed {
        version: seen.protocol_version(),
        alpn: seen.alpn_protocol().map(<[u8]>::to_vec),
        group: seen
            .negotiated_key_exchange_group()
            .map(|group| group.name()),
        server: seen.peer_certificates().unwrap()[0].clone(),
        client: by.peer_certificates().is_some(),
    })
}

fn listener() -> (Arc<ListenerCertificate>, CertificateDer<'static>) {
    let key = key();
    let leaf = certificate(&key, true);
    let listener = ListenerCertificate::new(vec![leaf.clone()], pkcs8(&key)).unwrap();
    (listener, leaf)
}

#[tokio::test]
async fn client_certificates_of_any_kind_are_asked_for_and_let_in() {
    let (listener, leaf) = listener();
    let config = server_config(listener, false).unwrap();
    let tls13 = &rustls::version::TLS13;
    let agreed = |client| Agreed {
        version: Some(ProtocolVersion::TLSv1_3),
        alpn: Some(b"h2".to_vec()),
        group: Some(NamedGroup::X25519MLKEM768),
        server: leaf.clone(),
        client,
    };
    let nobody = shake(config.clone(), Client(None), tls13).await;
    assert_eq!(nobody, Ok(agreed(false)));
    for version3 in [false, true] {
        let key = key();
        let client = Client::with(certificate(&key, version3), &key);
        assert_eq!(shake(config.clone(), client, tls13).await, Ok(agreed(true)));
    }
}

#[tokio::test]
async fn attack_a_certificate_without_its_key_is_refused() {
    let (listener, _) = listener();
    let config = server_config(listener, true).unwrap();
    for version3 in [false, true] {
        let client = Client::with(certificate(&key(), version3), &key());
        let refused = shake(config.clone(), client, &rustls::version::TLS13).await;
        assert!(refused.is_err(), "version 3: {version3}");
    }
    let stolen = Client::with(certificate(&key(), true), &key());
    assert!(
        shake(config.clone(), stolen, &rustls::version::TLS12)
            .await
            .is_err()
    );
    let key = key();
    let rubbish = Client::with(CertificateDer::from(vec![0x30, 0]), &key);
    assert!(
        shake(config, rubbish, &rustls::version::TLS13)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tls_1_2_is_let_in_only_if_switched_on() {
    let (listener, _) = listener();
    let tls12 = &rustls::version::TLS12;
    let off = server_config(listener.clone(), false).unwrap();
    assert!(shake(off, Client(None), tls12).await.is_err());
    let on = server_config(listener, true).unwrap();
    let agreed = shake(on.clone(), Client(None), tls12).await.unwrap();
    assert_eq!(agreed.version, Some(ProtocolVersion::TLSv1_2));
    let key = key();
    let client = Client::with(certificate(&key, true), &key);
    assert!(shake(on, client, tls12).await.unwrap().client);
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let (listener, first) = listener();
    let config = server_config(listener.clone(), false).unwrap();
    let shown = async || {
        let agreed = shake(config.clone(), Client(None), &rustls::version::TLS13).await;
        agreed.unwrap().server
    };
    assert_eq!(shown().await, first);
    let key = key();
    let second = certificate(&key, true);
    listener.replace(vec![second.clone()], pkcs8(&key)).unwrap();
    assert_eq!(shown().await, second);
    assert_eq!(listener.leaf(), Some(second));
    let other = PrivateKey::generate(KeyType::Ed25519).unwrap();
    assert!(
        listener.replace(vec![first], pkcs8(&other)).is_err(),
        "a key of another certificate"
    );
}
