//! A root token from a threshold of key shares, for operators who ended theirs.
//!
//! The token leaves encoded: XORed with a one-time password that only whoever began the attempt
//! has, so that no single holder of a share sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zone_access::TokenId;
use zone_barrier::Quorum;
use zone_types::Secret;

use crate::rekey::check_nonce;
use crate::seal::{decode_share, unseal_error};
use crate::{System, SystemError};

/// Length of a service token, and so of the password.
pub const OTP_LENGTH: usize = 28;

/// An attempt that is under way.
pub(crate) struct RootAttempt {
    nonce: String,
    otp: Secret<String>,
    quorum: Quorum,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootStatus {
    /// Whether one is under way.
    pub started: bool,
    /// Its nonce.
    pub nonce: String,
    /// Shares that came in.
    pub progress: u8,
    /// Shares that are needed.
    pub required: u8,
}

/// What came of one share.
#[derive(Debug)]
pub enum RootStep {
    /// More are needed.
    Progress(RootStatus),
    /// The token, encoded.
    Token {
        /// Unpadded base64 of the token XOR the password.
        encoded: Secret<String>,
        /// Which token; for whoever has to take it back.
        id: TokenId,
        /// How far it was.
        status: RootStatus,
    },
}

impl System {
    /// How far the attempt is.
    pub async fn root_status(&self) -> Result<RootStatus, SystemError> {
        let required = self.numbers().await?.threshold;
        let ceremonies = self.ceremonies.lock().await;
        Ok(status(ceremonies.root.as_ref(), required))
    }

    /// Begins an attempt, with the caller's password or a new one, which is returned.
    pub async fn root_begin(
        &self,
        otp: Option<Secret<String>>,
    ) -> Result<(RootStatus, Option<Secret<String>>), SystemError> {
        if let Some(otp) = &otp
            && !(otp.expose().len() == OTP_LENGTH && otp.expose().is_ascii())
        {
            return Err(SystemError::Invalid(format!(
                "field 'otp': expected {OTP_LENGTH} ASCII characters, as many as a token has"
            )));
        }
        let required = self.numbers().await?.threshold;
        let mut ceremonies = self.ceremonies.lock().await;
        if ceremonies.root.is_some() {
            let text = "root generation already in progress";
            return Err(SystemError::Invalid(text.into()));
        }
        let drawn = otp.is_none().then(|| {
            zone_crypto::text::base62(OTP_LENGTH, &mut |out: &mut [u8]| self.random.fill(out))
        });
        let otp = otp.or_else(|| drawn.clone()).unwrap_or_default();
        ceremonies.root = Some(RootAttempt {
            nonce: self.nonce(),
            otp,
            quorum: Quorum::default(),
        });
        Ok((status(ceremonies.root.as_ref(), required), drawn))
    }

    /// Ends the attempt without effect. With a `nonce` only the one that has it.
    pub async fn root_cancel(&self, nonce: Option<&str>) -> Result<(), SystemError> {
        let mut ceremonies = self.ceremonies.lock().await;
        if let (Some(attempt), Some(nonce)) = (&ceremonies.root, nonce) {
            check_nonce(nonce, &attempt.nonce, "root generation")?;
        }
        ceremonies.root = None;
        Ok(())
    }

    /// Takes one share (hex or base64); the token with the last one that was missing.
    pub async fn root_update(
        &self,
        share: &Secret<String>,
        nonce: &str,
    ) -> Result<RootStep, SystemError> {
        let share = decode_share(share.expose())?;
        let required = self.numbers().await?.threshold;
        let mut ceremonies = self.ceremonies.lock().await;
        let attempt = ceremonies
            .root
            .as_mut()
            .ok_or_else(|| SystemError::Invalid("no root generation in progress".into()))?;
        check_nonce(nonce, &attempt.nonce, "root generation")?;
        let approved = self
            .barrier
            .approve(&mut attempt.quorum, share.expose())
            .await
            .map_err(unseal_error)?;
        let mut status = status(Some(attempt), required);
        let Some(approval) = approved else {
            return Ok(RootStep::Progress(status));
        };
        status.progress = required;
        let created = self.access.regenerate_root_token(approval).await?;
        let encoded = encode(created.text.expose(), attempt.otp.expose());
        ceremonies.root = None;
        Ok(RootStep::Token {
            encoded,
            id: created.entry.id.clone(),
            status,
        })
    }
}

fn status(attempt: Option<&RootAttempt>, required: u8) -> RootStatus {
    RootStatus {
        started: attempt.is_some(),
        nonce: attempt.map_or(String::new(), |attempt| attempt.nonce.clone()),
        progress: attempt.map_or(0, |attempt| attempt.quorum.progress()),
        required,
    }
}

/// Vault's form of a token under a one-time password of the same length.
fn encode(token: &str, otp: &str) -> Secret<String> {
    let mixed: Vec<u8> = token
        .bytes()
        .zip(otp.bytes())
        .map(|(token, otp)| token ^ otp)
        .collect();
    Secret::new(STANDARD_NO_PAD.encode(zeroize::Zeroizing::new(mixed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_vaults() {
        // Worked by hand: "hvs." ^ "AAAA" is 29 37 32 6f.
        assert_eq!(encode("hvs.", "AAAA").expose(), "KTcybw");
        assert_eq!(encode("hvs.", "hvs.").expose(), "AAAAAA");
    }
}
