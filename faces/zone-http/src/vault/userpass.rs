//! userpass under `/v1/auth/<mount>/`: Vault's shapes outside, [`zone_auth`] inside.

use serde_json::{Map, Value};
use zone_access::Operation;
use zone_auth::{AuthService, TokenChange, UserChange};
use zone_types::Secret;

use super::auth::{show_token, token_change};
use super::exchange::{Answer, Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::token::auth_block;

/// The names that fields had before they were the same in all methods.
const OLDER: &[(&str, &str)] = &[
    ("token_policies", "policies"),
    ("token_ttl", "ttl"),
    ("token_max_ttl", "max_ttl"),
    ("token_bound_cidrs", "bound_cidrs"),
];

/// Answers one permitted call.
pub(super) async fn handle(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let segments: Vec<&str> = call.permit.rest().split('/').collect();
    match segments[..] {
        ["login", _] if writes(call) => login(auth, call).await,
        ["users", ""] if call.permit.operation() == Operation::List => {
            Reply::keys(&auth.users(&call.permit).await?)
        }
        ["users", _] => user(auth, call).await,
        ["users", _, "password"] if writes(call) => {
            let password = password(&Fields(&call.data))?;
            let missing = || Fault::bad_request("missing password");
            let change = UserChange {
                password: Some(password.ok_or_else(missing)?),
                ..UserChange::default()
            };
            auth.change_user(&call.permit, &change).await?;
            Ok(Reply::NoContent)
        }
        ["users", _, "policies"] if writes(call) => {
            let given = token_change(&Fields(&call.data), OLDER)?.policies;
            let change = UserChange {
                token: TokenChange {
                    policies: Some(given.unwrap_or_default()),
                    ..TokenChange::default()
                },
                ..UserChange::default()
            };
            auth.change_user(&call.permit, &change).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_path()),
    }
}

async fn login(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let password = Secret::new(Fields(&call.data).required("password")?);
    let created = auth
        .log_in_userpass(&call.permit, &password, call.client.ip())
        .await?;
    let auth = auth_block(&created.entry, created.text, call.permit.now(), true);
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        ..Answer::default()
    }))
}

async fn user(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => Reply::data(&show_token(&auth.user(&call.permit).await?)),
        Operation::Delete => {
            auth.delete_user(&call.permit).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) => {
            auth.write_user(&call.permit, &change(&call.data)?).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn change(data: &Map<String, Value>) -> Result<UserChange, Fault> {
    let fields = Fields(data);
    Ok(UserChange {
        password: password(&fields)?,
        token: token_change(&fields, OLDER)?,
    })
}

fn password(fields: &Fields<'_>) -> Result<Option<Secret<String>>, Fault> {
    if fields
        .text("password_hash")?
        .is_some_and(|hash| !hash.is_empty())
    {
        let text = "field 'password_hash': hashes that were made elsewhere are not taken, since \
                    how strong they are cannot be told; give the password";
        return Err(Fault::bad_request(text));
    }
    Ok(fields.text("password")?.map(Secret::new))
}
