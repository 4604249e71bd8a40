//! A zone with a PKI mount, and short ways to use it.

use std::sync::Arc;
use std::time::Duration;

use zone_access::{MountKind, Operation, Permit};
use zone_pki::{
    GeneratedRoot, IssueAsk, Issued, PkiError, PkiService, ReservedNames, Role, RootAsk,
};
use zone_testkit::Lab;
use zone_x509::{Certificate, Subject};

pub(crate) const DAY: u64 = 86_400;

pub(crate) struct Zone {
    pub(crate) lab: Lab,
    pub(crate) pki: Arc<PkiService>,
}

impl Zone {
    pub(crate) async fn new() -> Self {
        let lab = Lab::new().await;
        lab.mount(MountKind::Pki, "pki/").await;
        let pki = Arc::new(service(&lab));
        Self { lab, pki }
    }

    /// A zone with a root of 30 days and the role `web` for `example.com` on P-256.
    pub(crate) async fn with_ca() -> Self {
        let zone = Self::new().await;
        zone.root("root").await.unwrap();
        zone.role("web", |_| {}).await.unwrap();
        zone
    }

    pub(crate) async fn permit(&self, operation: Operation, rest: &str) -> Permit {
        self.lab.permit(operation, &format!("pki/{rest}")).await
    }

    pub(crate) async fn write(&self, rest: &str) -> Permit {
        self.permit(Operation::Update, rest).await
    }

    pub(crate) async fn read(&self, rest: &str) -> Permit {
        self.permit(Operation::Read, rest).await
    }

    pub(crate) async fn root(&self, name: &str) -> Result<GeneratedRoot, PkiError> {
        let ask = root_ask(name);
        self.pki
            .generate_root(&self.write("root/generate/internal").await, &ask)
            .await
    }

    pub(crate) async fn role(
        &self,
        name: &str,
        change: impl FnOnce(&mut Role),
    ) -> Result<Role, PkiError> {
        let mut role = Role {
            allowed_domains: vec!["example.com".into()],
            allow_subdomains: true,
            allow_bare_domains: true,
            key_type: "ec".into(),
            max_ttl: 29 * DAY,
            ttl: DAY,
            ..Role::default()
        };
        change(&mut role);
        self.pki
            .put_role(&self.write(&format!("roles/{name}")).await, name, role)
            .await
    }

    pub(crate) async fn issue(&self, role: &str, name: &str) -> Result<Issued, PkiError> {
        let ask = IssueAsk {
            common_name: name.into(),
            ..IssueAsk::default()
        };
        let permit = self.write(&format!("issue/{role}")).await;
        self.pki.issue(&permit, role, None, &ask).await
    }

    pub(crate) async fn sign(&self, role: &str, csr: &str) -> Result<Issued, PkiError> {
        let permit = self.write(&format!("sign/{role}")).await;
        self.pki
            .sign(&permit, role, None, csr, &IssueAsk::default())
            .await
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.lab.clock.advance(Duration::from_secs(secs));
    }
}

pub(crate) fn service(lab: &Lab) -> PkiService {
    PkiService::new(
        lab.access.clone(),
        lab.barrier.clone(),
        lab.clock.clone(),
        lab.random.clone(),
        reserved(),
    )
}

pub(crate) fn reserved() -> ReservedNames {
    ReservedNames::new(
        "zone.example",
        &["head.zone.example".to_owned(), "10.9.9.9".to_owned()],
    )
}

pub(crate) fn root_ask(name: &str) -> RootAsk {
    RootAsk {
        subject: Subject::common(&format!("{name} CA")),
        key_type: Some(RootAsk::key_type_of("ec", 0).unwrap()),
        issuer_name: name.into(),
        names: IssueAsk {
            ttl: Some(Duration::from_secs(30 * DAY)),
            exclude_cn_from_sans: true,
            ..IssueAsk::default()
        },
        ..RootAsk::default()
    }
}

pub(crate) fn data(name: &str) -> String {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn parsed(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

/// Whether `leaf` was signed by the key of `issuer`.
pub(crate) fn signed_by(leaf: &Certificate, issuer: &Certificate) -> bool {
    leaf.issuer_der() == issuer.subject_der() && leaf.signed_by(&issuer.public_key().unwrap())
}
