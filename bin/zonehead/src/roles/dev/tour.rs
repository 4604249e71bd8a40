//! The tour that `zonehead dev` gives: what a zone does for two services, done for real.
//!
//! What must hold: each line `ok` was checked; a step that does not do what it claims ends the
//! tour with an error. Each step prints the command lines that do the same.
//!
//! Start at [`run`]; the services are in [`ledger`] and [`orders`].

mod audit;
mod authority;
mod ledger;
mod orders;
mod screen;
mod secret;
mod services;
#[cfg(test)]
mod tests;
mod traffic;

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};

use self::screen::Screen;
use self::services::Services;
use super::DevZone;
use super::shell::shell_word;

/// The longest that one step may take.
const LONGEST_STEP: Duration = Duration::from_secs(20);

/// Gives the tour on standard output.
///
/// # Errors
///
/// A step failed, or what it claims is not so.
pub(super) async fn run(zone: &DevZone) -> anyhow::Result<()> {
    give(zone, &mut Screen::of_process()).await
}

async fn give(zone: &DevZone, screen: &mut Screen) -> anyhow::Result<()> {
    screen.heading("The tour: what a zone does for its services.")?;
    let client = &zone.client;
    let start = Services::start(client, screen);
    let mut services = step("certificates", start).await?;
    step("mutual TLS", services.talk(screen)).await?;
    step("rotation", services.rotate(screen)).await?;
    let revocation = step("revocation", services.revoke(screen)).await?;
    let password = step("secret", secret::store_and_read(client, screen)).await?;
    let traces = audit::Traces {
        request: revocation,
        secret: password,
    };
    step("audit", audit::verify(zone, &traces, screen)).await?;
    what_next(zone, screen)
}

async fn step<T>(name: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(LONGEST_STEP, work).await {
        Ok(done) => done.with_context(|| format!("the tour failed at the step {name:?}")),
        Err(_elapsed) => bail!("the tour's step {name:?} did not end in {LONGEST_STEP:?}"),
    }
}

/// A claim of the tour, which must be so.
fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> anyhow::Result<()> {
    match holds {
        true => Ok(()),
        false => bail!("{}", otherwise()),
    }
}

fn what_next(zone: &DevZone, screen: &mut Screen) -> anyhow::Result<()> {
    let directory = shell_word(&zone.directory);
    screen.heading("What to try next, in another terminal:")?;
    for line in [
        &*format!("eval \"$(zonehead dev env --dir {directory})\""),
        "zonehead status",
        "zonehead list pki/certs",
        "zonehead kv metadata get secret/orders/database",
        "zonehead token create -policy=default -ttl=10m",
        &*format!(
            "curl --cacert {directory}/ca.pem https://{}/v1/sys/health",
            zone.address
        ),
        "zonehead operator seal",
        &*format!("zonehead operator unseal \"$(cat {directory}/unseal-key)\""),
    ] {
        screen.command(line)?;
    }
    screen.note("Clients of the API of Vault work too; hvac 2.4.0 is tested with every change.")?;
    Ok(())
}
