//! A zone with both methods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use zone_access::{Ask, Created, Mount, MountConfig, MountKind, NewMount, Operation, Permit};
use zone_auth::{
    AuthError, AuthService, Generated, Hashers, NewSecretId, RoleChange, RoleTerms, TokenChange,
    UserChange,
};
use zone_crypto::password::Cost;
use zone_ports::KeyRange;
use zone_testkit::Lab;
use zone_types::{RequestPath, Secret};

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) auth: Arc<AuthService>,
}

pub(crate) const HERE: &str = "10.1.2.3";

pub(crate) fn here() -> IpAddr {
    HERE.parse().unwrap()
}

pub(crate) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// The methods over `lab`, with hashes that cost nothing.
fn service(lab: &Lab) -> Arc<AuthService> {
    let hashers = Hashers::with_cost(4, Cost::LEAST);
    lab.access
        .judge_renewals(Arc::new(RoleTerms::new(lab.barrier.clone())));
    Arc::new(AuthService::new(
        lab.barrier.clone(),
        lab.access.clone(),
        lab.random.clone(),
        hashers,
    ))
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(MountConfig::default()).await
    }

    /// Both methods with this configuration.
    pub(crate) async fn with(config: MountConfig) -> Self {
        let lab = Lab::new().await;
        for (kind, path) in [
            (MountKind::AppRole, "auth/approle"),
            (MountKind::Userpass, "auth/userpass"),
        ] {
            let permit = lab.permit(Operation::Update, &format!("sys/{path}")).await;
            let new = NewMount {
                config: config.clone(),
                ..NewMount::default()
            };
            lab.access.enable(&permit, kind, path, new).await.unwrap();
        }
        let auth = service(&lab);
        Self { lab, auth }
    }

    /// The same zone after a crash.
    pub(crate) async fn reopen(&self) -> Self {
        let lab = self.lab.reopen().await;
        let auth = service(&lab);
        Self { lab, auth }
    }

    pub(crate) fn mount(&self, path: &str) -> Arc<Mount> {
        self.lab.access.mount_of(path).unwrap().unwrap()
    }

    /// A permit of root.
    pub(crate) async fn root(&self, path: &str) -> Permit {
        self.lab.permit(Operation::Update, path).await
    }

    pub(crate) async fn at_role(&self, rest: &str) -> Permit {
        self.root(&format!("auth/approle/role/{rest}")).await
    }

    /// A permit as a stranger has it.
    pub(crate) async fn stranger(&self, path: &str) -> Permit {
        let path = RequestPath::from_text(path).unwrap();
        let ask = Ask {
            token: None,
            path: &path,
            operation: Operation::Update,
            data: None,
            remote: None,
            wrap_ttl: None,
        };
        self.lab.access.authorize(ask).await.unwrap()
    }

    pub(crate) async fn role(&self, name: &str, change: RoleChange) -> String {
        let permit = self.at_role(name).await;
        self.auth.write_role(&permit, &change).await.unwrap();
        self.auth.role(&permit).await.unwrap().role_id
    }

    pub(crate) async fn secret_id(&self, role: &str, new: &NewSecretId) -> Generated {
        let permit = self.at_role(&format!("{role}/secret-id")).await;
        self.auth.generate_secret_id(&permit, new).await.unwrap()
    }

    pub(crate) async fn log_in(
        &self,
        role_id: &str,
        secret_id: &Secret<String>,
    ) -> Result<Created, AuthError> {
        self.log_in_from(role_id, secret_id, HERE).await
    }

    pub(crate) async fn log_in_from(
        &self,
        role_id: &str,
        secret_id: &Secret<String>,
        remote: &str,
    ) -> Result<Created, AuthError> {
        let permit = self.stranger("auth/approle/login").await;
        let remote = remote.parse().unwrap();
        self.auth
            .log_in_approle(&permit, role_id, secret_id, remote)
            .await
    }

    pub(crate) async fn user(&self, name: &str, password: &str, token: TokenChange) {
        let permit = self.root(&format!("auth/userpass/users/{name}")).await;
        let change = UserChange {
            password: Some(secret(password)),
            token,
        };
        self.auth.write_user(&permit, &change).await.unwrap();
    }

    pub(crate) async fn enter(&self, name: &str, password: &str) -> Result<Created, AuthError> {
        let permit = self.stranger(&format!("auth/userpass/login/{name}")).await;
        self.auth
            .log_in_userpass(&permit, &secret(password), here())
            .await
    }

    /// Every record below `prefix`, in the clear.
    pub(crate) async fn records(&self, prefix: &str) -> BTreeMap<String, serde_json::Value> {
        let mut found = BTreeMap::new();
        let mut range = KeyRange::prefix(prefix.to_owned());
        loop {
            let page = self.lab.barrier.scan(&range, 1000).await.unwrap();
            let Some((last, _)) = page.last() else {
                return found;
            };
            range = range.after(last);
            for (key, plain) in &page {
                let key = String::from_utf8(key.as_bytes().to_vec()).unwrap();
                let value = serde_json::from_slice(&plain.value).unwrap();
                found.insert(key[prefix.len()..].to_owned(), value);
            }
        }
    }

    /// Records of a mount.
    pub(crate) async fn of_mount(&self, path: &str) -> BTreeMap<String, serde_json::Value> {
        let mount = self.mount(path);
        self.records(&format!("{}/{}/", mount.namespace, mount.id))
            .await
    }

    /// How many tokens there are beside root.
    pub(crate) async fn tokens(&self) -> usize {
        let permit = self.root("auth/token/accessors").await;
        self.lab.access.accessors(&permit).await.unwrap().len() - 1
    }
}

/// What the error says.
#[track_caller]
pub(crate) fn said<T>(result: Result<T, AuthError>) -> String {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => error.to_string(),
    }
}

pub(crate) const REFUSED: &str = "invalid role or secret ID";
pub(crate) const WRONG: &str = "invalid username or password";
