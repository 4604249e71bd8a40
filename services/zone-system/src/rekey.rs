//! New key shares, and a new root key under them.
//!
//! ```text
//! begin ─▶ shares of the old set … threshold ─▶ new shares handed out ─┬─▶ finish
//!                                                                      └─▶ verify … ─▶ in force
//! ```
//!
//! # What must hold
//!
//! * Nothing is stored before the end, which is one group: a crash leaves the old set or the new.
//! * With verification the new set counts only when a threshold of its holders has shown to have
//!   it. Without, it counts when [`System::rekey_finish`] is called, which the face does when the
//!   answer with the shares stands in the audit trail: an answer that nobody will see changes
//!   nothing.
//! * Whoever has no rights here can neither begin nor cancel (CVE-2025-52894, CVE-2026-5807): the
//!   face asks for a permit, or on a listener that is told otherwise, for the nonce.

use zone_barrier::{InitAsk, Quorum, Rekey, ShareNumbers};
use zone_crypto::{ct_eq, shamir};
use zone_ports::random;
use zone_types::{RequestId, Secret};

use crate::init::{HandedShares, InitOptions, check_recipients, init_error};
use crate::seal::{decode_share, unseal_error};
use crate::{System, SystemError};

/// How shares are to be replaced.
#[derive(Clone, Debug)]
pub struct RekeyOptions {
    /// The new shares.
    pub shares: InitOptions,
    /// Whether they count only when their holders have shown them.
    pub verify: bool,
}

/// A rekey that is under way.
pub(crate) struct RekeyAttempt {
    nonce: String,
    options: RekeyOptions,
    quorum: Quorum,
    prepared: Option<Prepared>,
}

/// New shares that were handed out and do not count yet.
struct Prepared {
    rekey: Rekey,
    nonce: String,
    quorum: Quorum,
}

/// How far a rekey is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RekeyStatus {
    /// Whether one is under way.
    pub started: bool,
    /// Its nonce.
    pub nonce: String,
    /// Threshold of the new set.
    pub threshold: u8,
    /// Shares of the new set.
    pub shares: u8,
    /// Shares of the old set that came in.
    pub progress: u8,
    /// Shares of the old set that are needed.
    pub required: u8,
    /// Whether the new set is to be verified.
    pub verify: bool,
    /// The nonce of the verification; empty before it.
    pub verification_nonce: String,
    /// Shares of the new set that came in.
    pub verification_progress: u8,
    /// Whether shares are encrypted to recipients.
    pub encrypted: bool,
}

/// What came of one share.
#[derive(Debug)]
pub enum RekeyStep {
    /// More are needed.
    Progress(RekeyStatus),
    /// The new shares, handed out this once.
    Shares {
        /// The shares.
        shares: HandedShares,
        /// How far it is.
        status: RekeyStatus,
    },
}

impl System {
    /// How far the rekey is.
    pub async fn rekey_status(&self) -> Result<RekeyStatus, SystemError> {
        let numbers = self.numbers().await?;
        let ceremonies = self.ceremonies.lock().await;
        Ok(status(ceremonies.rekey.as_ref(), numbers))
    }

    /// Begins a rekey.
    pub async fn rekey_begin(&self, options: RekeyOptions) -> Result<RekeyStatus, SystemError> {
        self.check(&options.shares)?;
        let numbers = self.numbers().await?;
        let mut ceremonies = self.ceremonies.lock().await;
        if ceremonies.rekey.is_some() {
            return Err(SystemError::Invalid("rekey already in progress".into()));
        }
        ceremonies.rekey = Some(RekeyAttempt {
            nonce: self.nonce(),
            options,
            quorum: Quorum::default(),
            prepared: None,
        });
        Ok(status(ceremonies.rekey.as_ref(), numbers))
    }

    /// What would fail only when all shares are there, fails now.
    fn check(&self, options: &InitOptions) -> Result<(), SystemError> {
        check_recipients(options)?;
        shamir::check_numbers(options.shares, options.threshold)
            .map_err(|fault| init_error(fault.into()))?;
        for recipient in &options.age_recipients {
            self.recipients.encrypt(recipient, b"").map_err(|error| {
                SystemError::Invalid(format!("field 'age_recipients': {error}"))
            })?;
        }
        Ok(())
    }

    /// Ends the rekey without effect. With a `nonce` only the one that has it.
    pub async fn rekey_cancel(&self, nonce: Option<&str>) -> Result<(), SystemError> {
        let mut ceremonies = self.ceremonies.lock().await;
        if let (Some(attempt), Some(nonce)) = (&ceremonies.rekey, nonce) {
            check_nonce(nonce, &attempt.nonce, "rekey")?;
        }
        ceremonies.rekey = None;
        Ok(())
    }

    /// Takes one share of the old set (hex or base64).
    ///
    /// # Errors
    ///
    /// [`SystemError::Invalid`] for a share that is wrong or outdated, or another rekey's nonce.
    pub async fn rekey_update(
        &self,
        share: &Secret<String>,
        nonce: &str,
    ) -> Result<RekeyStep, SystemError> {
        let share = decode_share(share.expose())?;
        let numbers = self.numbers().await?;
        let mut ceremonies = self.ceremonies.lock().await;
        let attempt = ceremonies.rekey.as_mut().ok_or_else(no_rekey)?;
        check_nonce(nonce, &attempt.nonce, "rekey")?;
        if attempt.prepared.is_some() {
            let text = "the new shares were handed out already: verify them, or cancel";
            return Err(SystemError::Invalid(text.into()));
        }
        let approved = self
            .barrier
            .approve(&mut attempt.quorum, share.expose())
            .await
            .map_err(unseal_error)?;
        let Some(approval) = approved else {
            return Ok(RekeyStep::Progress(status(Some(attempt), numbers)));
        };
        let prepared = self.barrier.rekey_prepare(ask(&attempt.options), approval);
        let mut rekey = prepared.await.map_err(init_error)?;
        let shares = std::mem::take(&mut rekey.shares);
        let shares = self.hand_out(&attempt.options.shares, shares)?;
        attempt.prepared = Some(Prepared {
            rekey,
            nonce: self.nonce(),
            quorum: Quorum::default(),
        });
        let status = status(Some(attempt), numbers);
        Ok(RekeyStep::Shares { shares, status })
    }

    /// Puts the shares in force that the rekey of that nonce handed out, unless they are to be
    /// verified first. For whoever has seen to it that their holders get them, and nobody else.
    ///
    /// # Errors
    ///
    /// [`SystemError::Invalid`] if it was canceled meanwhile: the shares never count.
    pub async fn rekey_finish(&self, nonce: &str) -> Result<(), SystemError> {
        let mut ceremonies = self.ceremonies.lock().await;
        let attempt = ceremonies.rekey.as_ref();
        let attempt = attempt.filter(|attempt| attempt.handed_out(nonce));
        if attempt.ok_or_else(no_rekey)?.options.verify {
            return Ok(());
        }
        let prepared = ceremonies.rekey.take().and_then(|attempt| attempt.prepared);
        let prepared = prepared.ok_or_else(no_rekey)?;
        Ok(self.barrier.rekey_apply(prepared.rekey).await?)
    }

    /// Drops the shares that the rekey of that nonce handed out in an answer that nobody will
    /// see, and the rekey with them.
    pub async fn rekey_take_back(&self, nonce: &str) {
        let mut ceremonies = self.ceremonies.lock().await;
        ceremonies
            .rekey
            .take_if(|attempt| attempt.handed_out(nonce));
    }

    /// Takes one share of the new set; with the last one that was missing the set is in force.
    /// `true` then.
    pub async fn rekey_verify(
        &self,
        share: &Secret<String>,
        nonce: &str,
    ) -> Result<(bool, RekeyStatus), SystemError> {
        let share = decode_share(share.expose())?;
        let numbers = self.numbers().await?;
        let mut ceremonies = self.ceremonies.lock().await;
        let attempt = ceremonies.rekey.as_mut().ok_or_else(no_rekey)?;
        let prepared = attempt.verifying()?;
        check_nonce(nonce, &prepared.nonce, "verification")?;
        let confirmed = self
            .barrier
            .confirm(&mut prepared.quorum, &prepared.rekey, share.expose())
            .map_err(unseal_error)?;
        if confirmed.is_none() {
            return Ok((false, status(Some(attempt), numbers)));
        }
        let done = status(Some(attempt), numbers);
        let prepared = ceremonies.rekey.take().and_then(|attempt| attempt.prepared);
        let prepared = prepared.ok_or_else(no_rekey)?;
        self.barrier.rekey_apply(prepared.rekey).await?;
        Ok((true, done))
    }

    /// Begins the verification anew: what was shown so far does not count. With a `given` nonce
    /// only the one that has it.
    pub async fn rekey_verify_again(
        &self,
        given: Option<&str>,
    ) -> Result<RekeyStatus, SystemError> {
        let numbers = self.numbers().await?;
        let nonce = self.nonce();
        let mut ceremonies = self.ceremonies.lock().await;
        let attempt = ceremonies.rekey.as_mut().ok_or_else(no_rekey)?;
        let prepared = attempt.verifying()?;
        if let Some(given) = given {
            check_nonce(given, &prepared.nonce, "verification")?;
        }
        (prepared.quorum, prepared.nonce) = (Quorum::default(), nonce);
        Ok(status(Some(attempt), numbers))
    }

    pub(crate) async fn numbers(&self) -> Result<ShareNumbers, SystemError> {
        self.barrier.share_numbers().await.map_err(unseal_error)
    }

    pub(crate) fn nonce(&self) -> String {
        RequestId::from_random(random::bytes(&*self.random)).to_string()
    }
}

impl RekeyAttempt {
    /// Whether it has that nonce, and its new shares are out.
    fn handed_out(&self, nonce: &str) -> bool {
        self.prepared.is_some() && ct_eq(nonce.as_bytes(), self.nonce.as_bytes())
    }

    fn verifying(&mut self) -> Result<&mut Prepared, SystemError> {
        let verify = self.options.verify;
        let prepared = self.prepared.as_mut().filter(|_| verify);
        prepared.ok_or_else(|| SystemError::Invalid("no rekey verification in progress".into()))
    }
}

fn ask(options: &RekeyOptions) -> InitAsk {
    InitAsk {
        shares: options.shares.shares,
        threshold: options.shares.threshold,
    }
}

fn status(attempt: Option<&RekeyAttempt>, numbers: ShareNumbers) -> RekeyStatus {
    let none = RekeyStatus {
        required: numbers.threshold,
        ..RekeyStatus::default()
    };
    let Some(attempt) = attempt else { return none };
    let verifying = attempt.prepared.as_ref().filter(|_| attempt.options.verify);
    RekeyStatus {
        started: true,
        nonce: attempt.nonce.clone(),
        threshold: attempt.options.shares.threshold,
        shares: attempt.options.shares.shares,
        progress: attempt.quorum.progress(),
        verify: attempt.options.verify,
        verification_nonce: verifying.map_or(String::new(), |prepared| prepared.nonce.clone()),
        verification_progress: verifying.map_or(0, |prepared| prepared.quorum.progress()),
        encrypted: !attempt.options.shares.age_recipients.is_empty(),
        ..none
    }
}

/// The nonce is told to whoever may begin: it keeps late callers off another operation.
pub(crate) fn check_nonce(given: &str, own: &str, what: &str) -> Result<(), SystemError> {
    match ct_eq(given.as_bytes(), own.as_bytes()) {
        true => Ok(()),
        false => Err(SystemError::Invalid(format!(
            "the nonce is not that of the current {what}"
        ))),
    }
}

fn no_rekey() -> SystemError {
    SystemError::Invalid("no rekey in progress".into())
}
