//! `print token` and `version`.

use clap::Command;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::spec::leaf;

pub(super) mod token {
    //! `print token`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        leaf(
            "token",
            "Print the token that the next command would send",
            "From VAULT_TOKEN or the file that 'login' wrote. Asks no server. Whoever reads the \
             output can do what you can.",
            "curl -H \"X-Vault-Token: $(zonehead print token)\" $VAULT_ADDR/v1/sys/mounts",
        )
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let token = cx.token()?;
        let token = token.ok_or_else(|| {
            Failure::failed("There is no token: run 'zonehead login', or set VAULT_TOKEN.")
        })?;
        output::raw(cx.console, token.expose().as_bytes())
    }
}

pub(super) mod version {
    //! `version`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        leaf(
            "version",
            "Print the version of this program",
            "'zonehead status' shows that of the server.",
            "zonehead version",
        )
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        cx.console
            .print(concat!("zonehead ", env!("CARGO_PKG_VERSION")))?;
        Ok(0)
    }
}
