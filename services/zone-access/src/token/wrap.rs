//! Response wrapping: an answer that is kept sealed for whoever holds one token, once.
//!
//! The answer is one record below the HMAC of its wrapping token, written and removed together
//! with the token's own records. Reading it and ending the token is one batch on the condition
//! that the token is as it was read: of any number of readers one wins, also across a crash.
//!
//! A wrapping token is a token with the policy `response-wrapping`, which no other can have, and
//! the time to live that was asked for. It is an orphan: what it stands for was answered already.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};
use zone_barrier::{BarrierError, Batch};
use zone_ports::Key;
use zone_types::{NamespaceId, Secret, Timestamp};

use super::create::creation_batch;
use super::tree::{Children, ending};
use super::{LONGEST, TokenEntry, TokenId, TokenRecord};
use crate::permit::Permit;
use crate::policies::WRAPPING;
use crate::record::{V1, decode};
use crate::{Access, AccessError, MAX_TTL_SECS, OpenState};

/// Largest answer: what one secret may have, and its envelope.
const LARGEST: usize = 1024 * 1024 + 64 * 1024;

/// An answer as the client would have seen it.
pub struct WrappedAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body: JSON text.
    pub body: Zeroizing<Vec<u8>>,
    /// The accessor of a token in it.
    pub wrapped_accessor: Option<String>,
}

/// A new wrapping token. The only place where its text exists.
pub struct Wrapped {
    /// The token's text.
    pub text: Secret<String>,
    /// What is stored of it.
    pub entry: Arc<TokenEntry>,
    /// The accessor of a token in the answer.
    pub wrapped_accessor: Option<String>,
}

/// What anybody who holds a wrapping token may know without unwrapping.
pub struct WrappedAt {
    /// The path whose answer is wrapped.
    pub path: String,
    /// When.
    pub time: Timestamp,
    /// Seconds for which it was wrapped.
    pub ttl: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerRecord {
    v: V1,
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped_accessor: Option<String>,
    answer: Box<RawValue>,
}

impl TokenRecord {
    /// Whether it does nothing but unwrap an answer.
    pub fn is_wrapping(&self) -> bool {
        self.policies.iter().any(|policy| policy == WRAPPING)
    }
}

impl Access {
    /// Keeps the answer to the permit's request for as long as the permit says.
    pub async fn wrap(
        &self,
        permit: &Permit,
        answer: WrappedAnswer,
    ) -> Result<Wrapped, AccessError> {
        let ttl = permit.wrap_ttl().ok_or_else(|| {
            AccessError::invalid("endpoint requires response wrapping to be used")
        })?;
        let path = permit.path().as_str();
        let record = record_for(permit.namespace(), path, ttl, self.instant())?;
        let state = self.state()?;
        self.keep(&state, Batch::new(), None, record, answer).await
    }

    /// The answer behind a wrapping token, which ends with this.
    pub async fn unwrap_answer(
        &self,
        permit: &Permit,
        text: &str,
    ) -> Result<WrappedAnswer, AccessError> {
        let state = self.state()?;
        let id = state.tokens.id_of(text);
        // Of many at once each would read the whole answer, and all but one in vain.
        let _turn = state.tokens.turn(&id).lock().await;
        let entry = self.wrapping(&state, permit.namespace(), text).await?;
        let answer = self.answer_of(&state, &id).await?;
        match self.end_if_unchanged(&state, &entry, Children::End).await? {
            true => Ok(answer),
            false => Err(AccessError::NOT_WRAPPING),
        }
    }

    /// Moves the answer behind a wrapping token to a new one with the same path and time to live.
    pub async fn rewrap(&self, permit: &Permit, text: &str) -> Result<Wrapped, AccessError> {
        let state = self.state()?;
        let id = state.tokens.id_of(text);
        let _turn = state.tokens.turn(&id).lock().await;
        let entry = self.wrapping(&state, permit.namespace(), text).await?;
        let answer = self.answer_of(&state, &id).await?;
        let old = &entry.record;
        let ttl = Duration::from_secs(old.creation_ttl);
        let record = record_for(&old.namespace, &old.path, ttl, self.instant())?;
        let batch = ending(&state, Batch::new(), &entry, Children::End)?;
        self.keep(&state, batch, Some(id), record, answer).await
    }

    /// What is known of a wrapping token without unwrapping it.
    pub async fn wrapped_at(&self, permit: &Permit, text: &str) -> Result<WrappedAt, AccessError> {
        let state = self.state()?;
        let entry = self.wrapping(&state, permit.namespace(), text).await?;
        Ok(WrappedAt {
            path: entry.record.path.clone(),
            time: entry.record.creation_time,
            ttl: entry.record.creation_ttl,
        })
    }

    /// The wrapping token of that text, past the cache.
    async fn wrapping(
        &self,
        state: &OpenState,
        namespace: &NamespaceId,
        text: &str,
    ) -> Result<TokenEntry, AccessError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(AccessError::NOT_WRAPPING);
        }
        let found = self.read_token(state, &state.tokens.id_of(text)).await?;
        let now = self.instant();
        found
            .filter(|entry| {
                let record = &entry.record;
                record.is_wrapping() && record.namespace == *namespace && !record.expired(now)
            })
            .ok_or(AccessError::NOT_WRAPPING)
    }

    async fn answer_of(
        &self,
        state: &OpenState,
        id: &TokenId,
    ) -> Result<WrappedAnswer, AccessError> {
        let plain = self.barrier.get(&answer_key(state, id)?).await?;
        let record: AnswerRecord = decode(&plain.ok_or(AccessError::NOT_WRAPPING)?)?;
        let body = Box::<str>::from(record.answer).into_string().into_bytes();
        Ok(WrappedAnswer {
            status: record.status,
            body: Zeroizing::new(body),
            wrapped_accessor: record.wrapped_accessor,
        })
    }

    /// Adds a new wrapping token and its answer to `batch`, which ends the token `old`, and
    /// commits it.
    async fn keep(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        old: Option<TokenId>,
        mut record: TokenRecord,
        answer: WrappedAnswer,
    ) -> Result<Wrapped, AccessError> {
        let (text, accessor) = self.drawn_token();
        record.accessor = accessor;
        let id = state.tokens.id_of(text.expose());
        let (value, wrapped_accessor) = encoded(answer)?;
        let batch = creation_batch(state, batch, &id, &record, &[])?
            .put(answer_key(state, &id)?, value.to_vec());
        let forget = old.into_iter().chain([id.clone()]).collect();
        match self.change_tokens(state, batch, forget).await {
            Ok(revision) => Ok(Wrapped {
                text,
                entry: Arc::new(TokenEntry::new(id, record, revision)),
                wrapped_accessor,
            }),
            // The old token was unwrapped, rewrapped or revoked meanwhile.
            Err(BarrierError::Conflict) => Err(AccessError::NOT_WRAPPING),
            Err(other) => Err(other.into()),
        }
    }
}

/// Where the answer of a wrapping token is.
pub(super) fn answer_key(state: &OpenState, id: &TokenId) -> Result<Key, AccessError> {
    Ok(state.cubbyhole.key("wrapped", id.as_str())?)
}

fn record_for(
    namespace: &NamespaceId,
    path: &str,
    ttl: Duration,
    now: Timestamp,
) -> Result<TokenRecord, AccessError> {
    let secs = ttl.as_secs();
    if secs == 0 || secs > MAX_TTL_SECS {
        return Err(AccessError::invalid(format!(
            "X-Vault-Wrap-TTL: from 1 to {MAX_TTL_SECS} seconds"
        )));
    }
    Ok(TokenRecord {
        v: V1,
        namespace: namespace.clone(),
        accessor: String::new(),
        policies: vec![WRAPPING.into()],
        path: path.to_owned(),
        meta: None,
        display_name: String::new(),
        num_uses: 1,
        creation_time: now,
        creation_ttl: secs,
        explicit_max_ttl: secs,
        period: 0,
        expire_time: Some(now.plus(Duration::from_secs(secs))),
        last_renewal: None,
        renewable: false,
        parent: None,
        bound_cidrs: Vec::new(),
        max_ttl: 0,
        entity: None,
        role: None,
        auth_mount: None,
    })
}

/// The record of an answer; the answer itself is wiped.
fn encoded(mut answer: WrappedAnswer) -> Result<(Zeroizing<Vec<u8>>, Option<String>), AccessError> {
    let size = answer.body.len();
    if size > LARGEST {
        return Err(AccessError::invalid(format!(
            "an answer that is to be wrapped has at most {} KiB",
            LARGEST / 1024
        )));
    }
    while answer.body.last().is_some_and(u8::is_ascii_whitespace) {
        answer.body.pop();
    }
    let text = String::from_utf8(std::mem::take(&mut *answer.body));
    let text = text.map_err(|_| AccessError::Corrupt)?;
    let record = AnswerRecord {
        v: V1,
        status: answer.status,
        wrapped_accessor: answer.wrapped_accessor,
        answer: RawValue::from_string(text)?,
    };
    let mut value = Zeroizing::new(Vec::with_capacity(size + 256));
    let written = serde_json::to_writer(&mut *value, &record);
    Box::<str>::from(record.answer).into_string().zeroize();
    written?;
    Ok((value, record.wrapped_accessor))
}
