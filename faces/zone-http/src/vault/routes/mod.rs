//! The one table of endpoints: the router asks it before an engine is called, `?help=1` and the
//! OpenAPI document are made of it.
//!
//! A path that no row names is no endpoint, and an operation that its row does not name is
//! refused; an engine is not asked. So whatever is served is documented. That each row is served
//! is a test.
//!
//! What needs no token or sudo stands in [`zone_access::open`] and [`super::OPEN_SYS`], not here
//! once more: [`Route::is_open`] and [`Route::needs_sudo`] look there.

mod approle;
mod identity;
mod kv;
mod pki;
mod sys;
mod token;
mod userpass;

use zone_access::{Mount, MountKind, Operation, open};

use super::exchange::{Call, Fault};
use super::sys_open::OPEN_SYS;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Route {
    /// Below the mount. `{name}` is one segment, `{name*}` (at the end) any rest.
    pub(super) pattern: &'static str,
    /// One line.
    pub(super) about: &'static str,
    /// What can be done there.
    pub(super) does: &'static [Does],
}

/// One operation of an endpoint.
#[derive(Debug)]
pub(super) struct Does {
    /// Which; [`Operation::Update`] stands for both kinds of writes.
    pub(super) operation: Operation,
    /// The fields that it reads.
    pub(super) fields: &'static [Field],
}

/// One field of a request.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) form: Form,
    /// One line; empty where the name says it all.
    pub(super) about: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Number,
    /// A number, perhaps with a part of one.
    Decimal,
    /// Seconds, or text like `1h30m`.
    Time,
    /// A list of texts, or comma-separated text.
    List,
    /// An object.
    Object,
}

/// An engine's endpoints.
pub(super) struct Engine {
    /// The kind of its mounts.
    pub(super) kind: MountKind,
    /// Where it is mounted; a name of the place's kind, in braces, if it can be mounted anywhere.
    pub(super) place: &'static str,
    /// One line.
    pub(super) about: &'static str,
    /// Of KV: the version of those mounts.
    pub(super) version: Option<u8>,
    /// Its endpoints.
    pub(super) routes: &'static [Route],
}

/// All engines.
pub(super) const ENGINES: &[Engine] = &[
    Engine {
        kind: MountKind::System,
        place: "sys",
        about: "The zone itself: seal, mounts, policies, audit",
        version: None,
        routes: sys::ROUTES,
    },
    Engine {
        kind: MountKind::Token,
        place: "auth/token",
        about: "Tokens",
        version: None,
        routes: token::ROUTES,
    },
    Engine {
        kind: MountKind::AppRole,
        place: "auth/{approle_mount_path}",
        about: "Logins of machines",
        version: None,
        routes: approle::ROUTES,
    },
    Engine {
        kind: MountKind::Userpass,
        place: "auth/{userpass_mount_path}",
        about: "Logins of people",
        version: None,
        routes: userpass::ROUTES,
    },
    Engine {
        kind: MountKind::Cubbyhole,
        place: "cubbyhole",
        about: "What a token keeps for itself; gone when the token ends",
        version: None,
        routes: &[Route {
            pattern: "{path*}",
            about: "An entry of the calling token",
            does: &[read(&[]), list(&[]), write(&[]), delete()],
        }],
    },
    Engine {
        kind: MountKind::Identity,
        place: "identity",
        about: "Entities, their aliases, and groups",
        version: None,
        routes: identity::ROUTES,
    },
    Engine {
        kind: MountKind::Kv,
        place: "{kv_mount_path}",
        about: "Secrets with versions (KV version 2)",
        version: Some(2),
        routes: kv::ROUTES,
    },
    Engine {
        kind: MountKind::Kv,
        place: "{kv_v1_mount_path}",
        about: "Secrets without versions (KV version 1)",
        version: Some(1),
        routes: kv::ROUTES_1,
    },
    Engine {
        kind: MountKind::Pki,
        place: "{pki_mount_path}",
        about: "A certificate authority",
        version: None,
        routes: pki::ROUTES,
    },
];

const fn does(operation: Operation, fields: &'static [Field]) -> Does {
    Does { operation, fields }
}

const fn read(fields: &'static [Field]) -> Does {
    does(Operation::Read, fields)
}

const fn list(fields: &'static [Field]) -> Does {
    does(Operation::List, fields)
}

const fn write(fields: &'static [Field]) -> Does {
    does(Operation::Update, fields)
}

const fn patch(fields: &'static [Field]) -> Does {
    does(Operation::Patch, fields)
}

const fn delete() -> Does {
    does(Operation::Delete, &[])
}

const fn field(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, form, about }
}

const fn text(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Text, about)
}

const fn flag(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Flag, about)
}

const fn number(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Number, about)
}

const fn decimal(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Decimal, about)
}

const fn time(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Time, about)
}

const fn texts(name: &'static str, about: &'static str) -> Field {
    field(name, Form::List, about)
}

const fn object(name: &'static str, about: &'static str) -> Field {
    field(name, Form::Object, about)
}

impl Engine {
    /// The engine that serves `mount`.
    pub(super) fn of(mount: &Mount) -> Option<&'static Self> {
        ENGINES.iter().find(|engine| {
            let version = engine.version.is_none_or(|own| own == mount.kv_version());
            engine.kind == mount.kind && version
        })
    }

    /// The rows that match a path below a mount, the most literal first.
    pub(super) fn matching(&self, rest: &str) -> Vec<&'static Route> {
        let mut found: Vec<_> = self
            .routes
            .iter()
            .filter(|route| route.matches(rest))
            .collect();
        found.sort_by_key(|route| route.pattern.matches('{').count());
        found
    }
}

impl Route {
    /// Whether the pattern fits a path below a mount.
    fn matches(&self, rest: &str) -> bool {
        let (mut left, mut right) = (self.pattern.split('/'), rest.split('/'));
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(pattern), _) if pattern.ends_with("*}") => return true,
                (Some(pattern), Some(segment)) if pattern.starts_with('{') => {
                    if segment.is_empty() {
                        return false;
                    }
                }
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether `operation` needs no token, below a mount of `kind`.
    pub(super) fn is_open(&self, kind: MountKind, operation: Operation) -> bool {
        let rest = self.sample();
        let always = kind == MountKind::System
            && OPEN_SYS
                .iter()
                .any(|path| path.strip_prefix("sys/") == Some(self.pattern));
        always || open::is_open(kind, &rest, operation)
    }

    /// Whether it needs sudo, below a mount of `kind`.
    pub(super) fn needs_sudo(&self, kind: MountKind) -> bool {
        open::needs_sudo(kind, &self.sample())
    }

    /// A path that the pattern fits.
    pub(super) fn sample(&self) -> String {
        let sample = |part: &'static str| match part.strip_prefix('{') {
            Some(name) => name.trim_end_matches(['}', '*']),
            None => part,
        };
        let parts: Vec<_> = self.pattern.split('/').map(sample).collect();
        parts.join("/")
    }
}

/// Refuses what no row names: 404, or 405 if there is a row with other operations. KV words its
/// own refusals, as Vault's does.
pub(super) fn refuse(call: &Call) -> Result<(), Fault> {
    let (mount, operation) = (call.permit.mount(), call.permit.operation());
    let Some(engine) = Engine::of(mount) else {
        return Err(Fault::unsupported_path());
    };
    let rest = call.permit.rest();
    let rest = match operation {
        Operation::List => rest.strip_suffix('/').unwrap_or(rest),
        _ => rest,
    };
    let asked = match operation {
        Operation::Create => Operation::Update,
        other => other,
    };
    let found = engine.matching(rest);
    let named = found
        .iter()
        .any(|route| route.does.iter().any(|does| does.operation == asked));
    match (named, found.is_empty()) {
        (true, _) => Ok(()),
        _ if mount.kind == MountKind::Kv => Ok(()),
        (false, false) => Err(Fault::unsupported_operation()),
        (false, true) => Err(Fault::unsupported_path()),
    }
}
