//! `lease lookup`, `lease renew`, `lease revoke`.

use clap::Command;
use serde_json::{Map, Value, json};

use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, fielded, flag, leaf, required, switch};

const ID: &str = "The lease, as the answer that came with it named it.";

pub(super) mod lookup {
    //! `lease lookup`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "lookup",
            "Show a lease",
            "When it was given out, when it ends, and whether it can be renewed. Names of leases \
             are listed with `zonehead list sys/leases/lookup/PREFIX`, which needs sudo.",
            "zonehead lease lookup pki/issue/web/2xbtxGjN1fXRvQKMEwHhSZXr",
        );
        connected(fielded(command.arg(required("lease", "LEASE", ID))))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let body = json!({ "lease_id": cx.text("lease") });
        let reply = cx.client()?.write("sys/leases/lookup", &body).await;
        let reply = reply.map_err(Failure::of("Error looking up lease"))?;
        match reply {
            Some(reply) => output.reply(cx.console, &reply),
            None => Err(Failure::failed(
                "Error looking up lease: the answer is empty",
            )),
        }
    }
}

pub(super) mod renew {
    //! `lease renew`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "renew",
            "Make a lease live longer",
            "By the time that it was given out for, or by -increment, within its maximum. Tokens \
             are renewed with `zonehead token renew`.",
            "zonehead lease renew -increment=1h database/creds/app/2xbtxGjN1fXRvQKMEwHhSZXr",
        );
        connected(fielded(command.args([
            flag("increment", "time", "For how long from now."),
            required("lease", "LEASE", ID),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut body = Map::new();
        body.insert("lease_id".into(), cx.text("lease").into());
        if let Some(increment) = cx.text("increment") {
            body.insert("increment".into(), increment.into());
        }
        let reply = cx.client()?.write("sys/leases/renew", &body.into()).await;
        let reply = reply.map_err(Failure::of("Error renewing lease"))?;
        match reply {
            Some(reply) => output.reply(cx.console, &reply),
            None => Err(Failure::failed("Error renewing lease: the answer is empty")),
        }
    }
}

pub(super) mod revoke {
    //! `lease revoke`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "revoke",
            "End a lease, or all below a path",
            "What the engine gave out with it is taken back in the background, again and again \
             until it succeeds; -sync waits for it. With -prefix all leases and tokens that were \
             given out below the path end at once, which needs sudo.",
            "zonehead lease revoke pki/issue/web/2xbtxGjN1fXRvQKMEwHhSZXr
             zonehead lease revoke -prefix pki/issue/web
             zonehead lease revoke -prefix auth/approle
             zonehead lease revoke -force -prefix database/creds",
        );
        connected(command.args([
            switch("prefix", "The argument is a path; all below it ends."),
            switch(
                "force",
                "Let go of leases whose engine fails: what they stood for may live on.",
            ),
            switch("sync", "Wait until the engine has taken back what it gave."),
            required("lease", "LEASE", "The lease, or a path with -prefix."),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let named = trimmed(cx.text("lease").unwrap_or_default()).to_owned();
        let [prefix, force, sync] = ["prefix", "force", "sync"].map(|name| cx.is_on(name));
        if force && !prefix {
            return Err(Failure::usage("Specify -prefix with -force"));
        }
        let mut body = json!({ "sync": sync });
        let (path, done) = match (force, prefix) {
            (true, _) => (
                format!("sys/leases/revoke-force/{named}"),
                format!("Success! Force revoked any leases with prefix: {named}"),
            ),
            (false, true) => (
                format!("sys/leases/revoke-prefix/{named}"),
                format!("Success! Revoked any leases with prefix: {named}"),
            ),
            (false, false) => {
                body["lease_id"] = Value::from(named.as_str());
                let done = format!("Success! Revoked lease: {named}");
                ("sys/leases/revoke".to_owned(), done)
            }
        };
        let reply = cx.client()?.write(&path, &body).await;
        reply.map_err(Failure::of("Error revoking leases"))?;
        cx.console.print(match force || sync {
            true => &done,
            false => "All revocation operations queued successfully!",
        })?;
        Ok(0)
    }
}
