//! What key holders do together: `sys/rekey/…`, `sys/generate-root/…`.
//!
//! Both need a token with a policy for them. A listener whose configuration says so also serves
//! them without one, as Vault did before; then whoever cancels must know the nonce
//! (CVE-2025-52894, CVE-2026-5807).

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use zone_access::{Operation, TokenId};
use zone_system::{RekeyOptions, RekeyStatus, RekeyStep, RootStatus, RootStep};
use zone_types::Secret;

use super::envelope::Encoded;
use super::exchange::{Answer, Call, Fault, Reply, to_raw};
use super::fields::{Fields, parse_json, wipe};
use super::sys_open::{refuse_unsupported, share_options};
use crate::Zone;
use crate::app::Inbound;

/// Endpoints that a listener can serve without a token.
pub(super) const REKEY: [&str; 3] = ["sys/rekey/init", "sys/rekey/update", "sys/rekey/verify"];
/// Endpoints that a listener can serve without a token.
pub(super) const GENERATE_ROOT: [&str; 2] =
    ["sys/generate-root/attempt", "sys/generate-root/update"];

/// One call, from whichever door it came.
pub(super) struct Ceremony<'a> {
    zone: &'a Zone,
    /// Below `sys/`.
    rest: &'a str,
    operation: Operation,
    fields: Fields<'a>,
    /// Whether a policy allowed it; else the nonce alone says who may cancel.
    permitted: bool,
}

/// What came of it.
pub(super) enum Outcome {
    /// 204.
    NoContent,
    /// 200. A token that it hands out, to be taken back if nobody sees the answer.
    Body(Value, Option<TokenId>),
}

/// Serves a permitted call below `sys/rekey/` or `sys/generate-root/`.
pub(super) async fn handle(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let ceremony = Ceremony {
        zone,
        rest: call.permit.rest(),
        operation: call.permit.operation(),
        fields: Fields(&call.data),
        permitted: true,
    };
    match ceremony.run().await? {
        Outcome::NoContent => Ok(Reply::NoContent),
        Outcome::Body(mut body, hands_out) => {
            let data = to_raw(&body);
            wipe(&mut body);
            Ok(Reply::Data(Answer {
                data: Some(data?),
                hands_out,
                ..Answer::default()
            }))
        }
    }
}

/// Serves a call without a token, on a listener that is told to.
pub(super) async fn open(zone: &Zone, inbound: &Inbound) -> Result<(u16, Value), Fault> {
    let data = parse_json(&inbound.body)?;
    let operation = match inbound.method.as_str() {
        "GET" | "HEAD" => Operation::Read,
        "POST" | "PUT" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => return Err(Fault::unsupported_operation()),
    };
    let ceremony = Ceremony {
        zone,
        rest: inbound.path.as_str().strip_prefix("sys/").unwrap_or(""),
        operation,
        fields: Fields(&data),
        permitted: false,
    };
    let Outcome::Body(mut body, _) = ceremony.run().await? else {
        return Ok((204, Value::Null));
    };
    // Who may read it may cancel with it: only whoever began it has it, and whom he told.
    if operation == Operation::Read {
        body["nonce"] = "".into();
    }
    // These calls are in no trail that the shares would have to wait for.
    if body.get("keys").is_some() {
        let nonce = body["nonce"].as_str().unwrap_or_default();
        zone.system.rekey_finish(nonce).await?;
    }
    Ok((200, body))
}

/// The nonce of the rekey whose new shares `answer` hands out, in clear or wrapped.
pub(super) fn handed_out(call: &Call, answer: &Encoded) -> Option<String> {
    #[derive(Deserialize)]
    struct Shares {
        nonce: String,
        #[serde(rename = "keys")]
        _keys: IgnoredAny,
    }
    let here = call.permit.path().as_str() == "sys/rekey/update";
    let data = answer.data.text().or_else(|| answer.hidden.text());
    let shares: Shares = serde_json::from_str(data.filter(|_| here)?).ok()?;
    Some(shares.nonce)
}

impl Ceremony<'_> {
    async fn run(&self) -> Result<Outcome, Fault> {
        let writes = matches!(self.operation, Operation::Update | Operation::Create);
        let reads = self.operation == Operation::Read;
        let deletes = self.operation == Operation::Delete;
        match self.rest {
            "rekey/init" if reads => self.rekey_status().await,
            "rekey/init" if writes => self.rekey_begin().await,
            "rekey/init" if deletes => {
                let nonce = self.cancelling()?;
                self.zone.system.rekey_cancel(nonce.as_deref()).await?;
                Ok(Outcome::NoContent)
            }
            "rekey/update" if writes => self.rekey_update().await,
            "rekey/verify" if reads => self.verify_status().await,
            "rekey/verify" if writes => self.verify().await,
            "rekey/verify" if deletes => {
                let nonce = self.cancelling()?;
                let system = &self.zone.system;
                let status = system.rekey_verify_again(nonce.as_deref()).await?;
                Ok(body(verification(&status)))
            }
            "generate-root/attempt" if reads => {
                let status = self.zone.system.root_status().await?;
                Ok(body(root_status(&status, "")))
            }
            "generate-root/attempt" if writes => self.root_begin().await,
            "generate-root/attempt" if deletes => {
                let nonce = self.cancelling()?;
                self.zone.system.root_cancel(nonce.as_deref()).await?;
                Ok(Outcome::NoContent)
            }
            "generate-root/update" if writes => self.root_update().await,
            "rekey/init"
            | "rekey/update"
            | "rekey/verify"
            | "generate-root/attempt"
            | "generate-root/update" => Err(Fault::unsupported_operation()),
            _ => Err(Fault::unsupported_path()),
        }
    }

    /// The nonce that a cancel comes with; needed where no policy was asked.
    fn cancelling(&self) -> Result<Option<String>, Fault> {
        let nonce = self.fields.text("nonce")?.filter(|nonce| !nonce.is_empty());
        if nonce.is_none() && !self.permitted {
            return Err(Fault::bad_request("missing nonce"));
        }
        Ok(nonce)
    }

    async fn rekey_status(&self) -> Result<Outcome, Fault> {
        Ok(body(rekey_status(&self.zone.system.rekey_status().await?)))
    }

    async fn rekey_begin(&self) -> Result<Outcome, Fault> {
        refuse_unsupported(&self.fields)?;
        if self.fields.flag("backup")?.unwrap_or(false) {
            return Err(Fault::bad_request(
                "field 'backup': key shares are handed out once and never kept",
            ));
        }
        let options = RekeyOptions {
            shares: share_options(&self.fields)?,
            verify: self.fields.flag("require_verification")?.unwrap_or(false),
        };
        let status = self.zone.system.rekey_begin(options).await?;
        Ok(body(rekey_status(&status)))
    }

    async fn rekey_update(&self) -> Result<Outcome, Fault> {
        let (share, nonce) = self.share()?;
        let step = self.zone.system.rekey_update(&share, &nonce).await?;
        let (shares, status) = match step {
            RekeyStep::Progress(status) => {
                let mut shown = rekey_status(&status);
                shown["complete"] = false.into();
                return Ok(body(shown));
            }
            RekeyStep::Shares { shares, status } => (shares, status),
        };
        // Moved in, not copied: what is wiped after the answer is all there is.
        let mut shown = Map::new();
        shown.insert("complete".into(), true.into());
        shown.insert("nonce".into(), status.nonce.into());
        shown.insert("keys".into(), shares.keys_hex().into());
        shown.insert("keys_base64".into(), shares.keys_base64().into());
        if let Some(encrypted) = shares.encrypted() {
            shown.insert("keys_age".into(), encrypted.into());
        }
        shown.insert("pgp_fingerprints".into(), Value::Null);
        shown.insert("backup".into(), false.into());
        shown.insert("verification_required".into(), status.verify.into());
        shown.insert(
            "verification_nonce".into(),
            status.verification_nonce.into(),
        );
        Ok(body(Value::Object(shown)))
    }

    async fn verify_status(&self) -> Result<Outcome, Fault> {
        let status = self.zone.system.rekey_status().await?;
        if status.verification_nonce.is_empty() {
            return Err(Fault::bad_request("no rekey verification in progress"));
        }
        Ok(body(verification(&status)))
    }

    async fn verify(&self) -> Result<Outcome, Fault> {
        let (share, nonce) = self.share()?;
        let (complete, status) = self.zone.system.rekey_verify(&share, &nonce).await?;
        let mut shown = verification(&status);
        shown["complete"] = complete.into();
        Ok(body(shown))
    }

    async fn root_begin(&self) -> Result<Outcome, Fault> {
        if self
            .fields
            .text("pgp_key")?
            .is_some_and(|key| !key.is_empty())
        {
            return Err(Fault::bad_request(
                "field 'pgp_key': PGP is not supported; give an otp",
            ));
        }
        let otp = self.fields.text("otp")?.filter(|otp| !otp.is_empty());
        let begun = self.zone.system.root_begin(otp.map(Secret::new)).await?;
        let (status, otp) = begun;
        let otp = otp.unwrap_or_default();
        Ok(body(root_status(&status, otp.expose())))
    }

    async fn root_update(&self) -> Result<Outcome, Fault> {
        let (share, nonce) = self.share()?;
        match self.zone.system.root_update(&share, &nonce).await? {
            RootStep::Progress(status) => Ok(body(root_status(&status, ""))),
            RootStep::Token {
                encoded,
                id,
                status,
            } => {
                let mut shown = root_status(&status, "");
                shown["complete"] = true.into();
                shown["encoded_token"] = encoded.expose().as_str().into();
                shown["encoded_root_token"] = encoded.expose().as_str().into();
                Ok(Outcome::Body(shown, Some(id)))
            }
        }
    }

    fn share(&self) -> Result<(Secret<String>, String), Fault> {
        let share = Secret::new(self.fields.required("key")?);
        Ok((share, self.fields.required("nonce")?))
    }
}

fn body(value: Value) -> Outcome {
    Outcome::Body(value, None)
}

fn rekey_status(status: &RekeyStatus) -> Value {
    json!({
        "started": status.started,
        "nonce": status.nonce,
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "required": status.required,
        "pgp_fingerprints": null,
        "backup": false,
        "encrypted": status.encrypted,
        "verification_required": status.verify,
        "verification_nonce": status.verification_nonce,
    })
}

fn verification(status: &RekeyStatus) -> Value {
    json!({
        "started": true,
        "nonce": status.verification_nonce,
        "t": status.threshold,
        "n": status.shares,
        "progress": status.verification_progress,
    })
}

fn root_status(status: &RootStatus, otp: &str) -> Value {
    json!({
        "started": status.started,
        "nonce": status.nonce,
        "progress": status.progress,
        "required": status.required,
        "complete": false,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": otp,
        "otp_length": zone_system::OTP_LENGTH,
    })
}
