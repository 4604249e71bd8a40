//! One call and its answer, between the router and an engine's face.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zone_access::Permit;

/// A permitted call.
pub struct Call {
    /// What was allowed, where, when.
    pub permit: Permit,
    /// The fields of the body (for reads and deletes: of the query string, as strings).
    pub data: Map<String, Value>,
    /// The client's address.
    pub client: std::net::SocketAddr,
    /// The token that the request came with.
    pub token: Option<zone_types::Secret<String>>,
    /// What kind of answer is asked for.
    pub wants: crate::stream::Wants,
}

impl Drop for Call {
    fn drop(&mut self) {
        super::fields::wipe_all(&mut self.data);
    }
}

/// What an engine answers.
pub enum Reply {
    /// 204 without a body.
    NoContent,
    /// 200 with `data` in Vault's envelope.
    Data(Answer),
    /// 202 with Vault's envelope: the work goes on in the background.
    Accepted(Answer),
    /// 404 with `data` in Vault's envelope (a deleted KV version).
    Gone(Answer),
    /// 200 with bytes of the engine's own (certificates, CRLs), no envelope.
    Raw {
        /// The exact `Content-Type`.
        content_type: &'static str,
        /// The body.
        body: Vec<u8>,
    },
    /// Events, as the call wants them.
    Events(Box<crate::events::Subscription>, crate::stream::Wants),
    /// What was wrapped, as it was answered then. The audit trail does not see it again.
    Unwrapped {
        /// HTTP status.
        status: u16,
        /// The body: JSON text.
        body: zeroize::Zeroizing<Vec<u8>>,
        /// The accessor of a token in it.
        accessor: Option<String>,
    },
}

/// The part of the envelope that an engine fills.
#[derive(Default)]
pub struct Answer {
    /// `data`, as JSON text; `null` if absent.
    pub data: Option<Box<RawValue>>,
    /// `warnings`.
    pub warnings: Vec<String>,
    /// `lease_duration` in seconds.
    pub lease_duration: u64,
    /// `lease_id` and `renewable`; empty and false if absent.
    pub lease: Option<LeaseShown>,
    /// `auth`, from the token endpoints.
    pub auth: Option<Auth>,
    /// `wrap_info`, in the place of all else.
    pub wrap_info: Option<WrapInfo>,
    /// What an operator should look at: few fixed words, for the audit trail and the log.
    pub alert: Option<&'static str>,
    /// A token that `data` hands out: taken back if nobody will see the answer.
    pub hands_out: Option<zone_access::TokenId>,
}

/// What an answer says of the lease behind it.
#[derive(Clone)]
pub struct LeaseShown {
    /// `lease_id`.
    pub id: String,
    /// `renewable`.
    pub renewable: bool,
}

impl LeaseShown {
    /// Of a lease.
    pub fn of(lease: &zone_access::Lease) -> Self {
        Self {
            id: lease.id.clone(),
            renewable: lease.renewable,
        }
    }
}

/// The `wrap_info` block.
#[derive(Clone, Serialize)]
pub struct WrapInfo {
    /// Which token.
    #[serde(skip)]
    pub id: zone_access::TokenId,
    /// The wrapping token's text.
    #[serde(serialize_with = "exposed")]
    pub token: zone_types::Secret<String>,
    /// Its accessor.
    pub accessor: String,
    /// Seconds for which the answer is kept.
    pub ttl: u64,
    /// When it was wrapped.
    pub creation_time: zone_types::Timestamp,
    /// The path whose answer it is.
    pub creation_path: String,
    /// The accessor of a token in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrapped_accessor: Option<String>,
}

/// The `auth` block.
#[derive(Clone, Serialize)]
pub struct Auth {
    /// Which token.
    #[serde(skip)]
    pub id: zone_access::TokenId,
    /// Whether the token was made by this very request.
    #[serde(skip)]
    pub is_new: bool,
    /// The token's text.
    #[serde(serialize_with = "exposed")]
    pub client_token: zone_types::Secret<String>,
    /// Its accessor.
    pub accessor: String,
    /// All its policies.
    pub policies: Vec<String>,
    /// Those that stand in the token itself.
    pub token_policies: Vec<String>,
    /// Those that came by identity.
    pub identity_policies: Option<Vec<String>>,
    /// Its metadata.
    pub metadata: Option<std::collections::BTreeMap<String, String>>,
    /// Seconds left.
    pub lease_duration: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The entity behind it; empty for none.
    pub entity_id: String,
    /// `service` or `batch`.
    pub token_type: &'static str,
    /// Whether it has no parent.
    pub orphan: bool,
    /// Always null: no second factor is asked for.
    pub mfa_requirement: Option<()>,
    /// Uses left; zero for unlimited.
    pub num_uses: u64,
}

fn exposed<S: serde::Serializer>(
    text: &zone_types::Secret<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.expose())
}

impl Reply {
    /// 200 with `data`.
    pub fn data(data: &impl Serialize) -> Result<Self, Fault> {
        Ok(Self::Data(Answer {
            data: Some(to_raw(data)?),
            ..Answer::default()
        }))
    }

    /// A list: 200 with `{"keys": […]}`, or Vault's 404 if there are none.
    pub fn keys(keys: &[String]) -> Result<Self, Fault> {
        if keys.is_empty() {
            return Err(Fault::not_found());
        }
        Self::data(&serde_json::json!({ "keys": keys }))
    }
}

/// `data` as JSON text.
pub fn to_raw(data: &impl Serialize) -> Result<Box<RawValue>, Fault> {
    serde_json::value::to_raw_value(data).map_err(|_| Fault::internal("reply cannot be encoded"))
}

/// A refusal: a status, what the client may read, and what only the log may hold (E1).
#[derive(Debug)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// The client's `errors` list.
    pub errors: Vec<String>,
    /// `warnings` beside the errors (Vault adds some to a 404).
    pub warnings: Vec<String>,
    /// For the log; never shown to the client. Has no secrets in it either.
    pub internal: Option<String>,
}

impl Fault {
    /// `status` with one error line.
    pub fn new(status: u16, error: impl Into<String>) -> Self {
        Self {
            status,
            errors: vec![error.into()],
            warnings: Vec::new(),
            internal: None,
        }
    }

    /// 400: the client's mistake, said plainly, without the value.
    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(400, error)
    }

    /// 404 with an empty list: no value.
    pub fn not_found() -> Self {
        Self {
            status: 404,
            errors: Vec::new(),
            warnings: Vec::new(),
            internal: None,
        }
    }

    /// 404: no such endpoint, in Vault's words.
    pub fn unsupported_path() -> Self {
        Self::new(404, "1 error occurred:\n\t* unsupported path\n\n")
    }

    /// 405: the endpoint exists, the operation does not, in Vault's words.
    pub fn unsupported_operation() -> Self {
        Self::new(405, "1 error occurred:\n\t* unsupported operation\n\n")
    }

    /// 403, in Vault's words.
    pub fn denied() -> Self {
        Self::new(403, "permission denied")
    }

    /// 500: `internal` goes to the log alone.
    pub fn internal(internal: impl Into<String>) -> Self {
        let mut fault = Self::new(500, "internal error");
        fault.internal = Some(internal.into());
        fault
    }
}

impl From<zone_barrier::BarrierError> for Fault {
    fn from(error: zone_barrier::BarrierError) -> Self {
        use zone_barrier::BarrierError as E;
        let mut fault = match &error {
            E::Sealed => Self::new(503, "Vault is sealed"),
            E::Conflict => Self::new(409, "the value changed meanwhile: read it and try again"),
            E::TooLarge => Self::new(413, "the request is too large to be stored at once"),
            E::Store(_) => Self::new(503, "storage is not available"),
            _ => Self::new(500, "internal error"),
        };
        fault.internal = Some(chain(&error));
        fault
    }
}

/// An error with its causes on one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
