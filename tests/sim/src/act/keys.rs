//! Rekey and root tokens, as holders of shares do them.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zone_system::{InitOptions, RekeyOptions, RekeyStep, RootStep, SystemError};
use zone_types::Secret;

use super::{Answer, Aside};
use crate::head::{Head, SHARING, Shares, written};
use crate::model::Model;
use crate::step::Step;

pub(super) async fn act(head: &Head, model: &Model, step: &Step, aside: &Aside) -> Result<Answer> {
    let system = &head.system;
    match *step {
        Step::RekeyBegin(verify) => {
            let begun = taken(system.rekey_begin(options(verify)).await)?;
            Ok(begun.map_or(Answer::Refused, |status| Answer::Began(status.nonce, None)))
        }
        Step::RekeyShare(lost) => share(head, model, lost, aside).await,
        Step::RekeyVerify => show(head, model, aside).await,
        Step::RekeyVerifyAnew => {
            let Some((nonce, _)) = offered(model) else {
                return Ok(Answer::Refused);
            };
            let status = system.rekey_verify_again(Some(nonce)).await?;
            Ok(Answer::Began(status.verification_nonce, None))
        }
        Step::RekeyWrong => wrong(head, model).await,
        Step::RekeyCancel => {
            system.rekey_cancel(None).await?;
            Ok(Answer::Done)
        }
        Step::RootBegin => {
            let begun = taken(system.root_begin(None).await)?;
            Ok(begun.map_or(Answer::Refused, |(status, otp)| {
                Answer::Began(status.nonce, otp)
            }))
        }
        Step::RootShare => root_share(head, model).await,
        Step::RootWrong => {
            let nonce = model.rooting.as_ref().map_or("", |it| &it.nonce);
            refusal(system.root_update(&foreign(), nonce).await)
        }
        Step::RootCancel => {
            system.root_cancel(None).await?;
            Ok(Answer::Done)
        }
        Step::EndRoot(root) => {
            head.access.revoke_token(&model.roots[root].id).await?;
            Ok(Answer::Done)
        }
        _ => bail!("not about keys"),
    }
}

fn options(verify: bool) -> RekeyOptions {
    RekeyOptions {
        shares: InitOptions {
            shares: SHARING.shares,
            threshold: SHARING.threshold,
            age_recipients: Vec::new(),
        },
        verify,
    }
}

/// A refusal is an answer; what else goes wrong is an error.
fn taken<T>(result: Result<T, SystemError>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(SystemError::Invalid(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// What must be refused.
fn refusal<T>(result: Result<T, SystemError>) -> Result<Answer> {
    ensure!(taken(result)?.is_none(), "a wrong share was taken");
    Ok(Answer::Refused)
}

/// A share of no zone.
fn foreign() -> Secret<String> {
    written(&[7; 33])
}

fn offered(model: &Model) -> Option<(&str, &Shares)> {
    let rekey = model.rekey.as_ref()?;
    let (nonce, shares) = rekey.offered.as_ref()?;
    Some((nonce, shares))
}

async fn share(head: &Head, model: &Model, lost: bool, aside: &Aside) -> Result<Answer> {
    let (nonce, given, verify) = match &model.rekey {
        Some(rekey) => (&*rekey.nonce, rekey.given, rekey.verify),
        None => ("", 0, false),
    };
    let given = given % model.shares.len();
    let share = written(&model.shares[given]);
    let step = taken(head.system.rekey_update(&share, nonce).await)?;
    let (shares, status) = match step {
        None => return Ok(Answer::Refused),
        Some(RekeyStep::Progress(_)) => return Ok(Answer::Done),
        Some(RekeyStep::Shares { shares, status }) => (read(&shares.keys_hex())?, status),
    };
    if verify {
        // As the face does when the answer stands in the trail: they do not count yet.
        head.system.rekey_finish(nonce).await?;
        return Ok(Answer::Offered(status.verification_nonce, shares));
    }
    if lost {
        head.system.rekey_take_back(nonce).await;
        return Ok(Answer::Lost(shares));
    }
    *aside.offered.borrow_mut() = Some(shares);
    head.system.rekey_finish(nonce).await?;
    Ok(Answer::Rekeyed)
}

fn read(shares: &[String]) -> Result<Shares> {
    shares.iter().map(|share| Ok(hex::decode(share)?)).collect()
}

async fn show(head: &Head, model: &Model, aside: &Aside) -> Result<Answer> {
    let Some((nonce, shares)) = offered(model) else {
        return refusal(head.system.rekey_verify(&foreign(), "").await);
    };
    let shown = model.rekey.as_ref().map_or(0, |rekey| rekey.shown);
    if shown + 1 == usize::from(SHARING.threshold) {
        *aside.offered.borrow_mut() = Some(shares.clone());
    }
    let share = written(&shares[shown]);
    let (done, _) = head.system.rekey_verify(&share, nonce).await?;
    Ok(if done { Answer::Rekeyed } else { Answer::Done })
}

/// One of the old set where the new one is to be shown, and one of no set where the old one is.
async fn wrong(head: &Head, model: &Model) -> Result<Answer> {
    if let Some((nonce, _)) = offered(model) {
        let old = written(&model.shares[0]);
        return refusal(head.system.rekey_verify(&old, nonce).await);
    }
    let nonce = model.rekey.as_ref().map_or("", |rekey| &rekey.nonce);
    refusal(head.system.rekey_update(&foreign(), nonce).await)
}

async fn root_share(head: &Head, model: &Model) -> Result<Answer> {
    let Some(rooting) = &model.rooting else {
        let share = written(&model.shares[0]);
        return refusal(head.system.root_update(&share, "").await);
    };
    let given = if rooting.outdated { 0 } else { rooting.given };
    let share = written(&model.shares[given]);
    let step = head.system.root_update(&share, &rooting.nonce).await?;
    let RootStep::Token { encoded, id, .. } = step else {
        return Ok(Answer::Done);
    };
    let mixed = STANDARD_NO_PAD.decode(encoded.expose())?;
    let otp = rooting.otp.expose().bytes();
    let text: Vec<u8> = mixed
        .iter()
        .zip(otp)
        .map(|(mixed, otp)| mixed ^ otp)
        .collect();
    let text = String::from_utf8(text).context("a token is text")?;
    Ok(Answer::Root(Secret::new(text), id))
}
