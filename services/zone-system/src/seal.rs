//! Opening and closing the zone, and turning its keys over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zone_access::Permit;
use zone_barrier::{BarrierError, KeyStatus, UnsealError};
use zone_types::{Secret, Timestamp};

use crate::{Ceremonies, System, SystemError};

/// How often expired tokens and leftovers are looked for when nothing was found.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds between two stores of the audit chains' ends, and between two starts of failed devices.
const ROUNDS_PER_HEAD: u64 = 10;

/// What `sys/seal-status` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealStatus {
    /// Whether there is a zone.
    pub initialized: bool,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Shares that unseal.
    pub threshold: u8,
    /// Shares in all.
    pub shares: u8,
    /// Shares of the current attempt.
    pub progress: u8,
    /// The nonce of the current attempt, for whoever takes part in it.
    pub nonce: String,
    /// The store's name.
    pub storage: &'static str,
    /// The zone's id as a UUID; empty before init.
    pub zone_id: String,
}

impl System {
    /// Whether the zone serves nothing but seal, init and health.
    pub fn is_sealed(&self) -> bool {
        !self.open.load(Ordering::Acquire) || self.barrier.is_sealed()
    }

    /// The head's clock, for `sys/health`.
    pub fn wall_clock(&self) -> Timestamp {
        self.clock.now()
    }

    /// What `client` is shown of the seal.
    pub async fn seal_status(&self, client: &str) -> Result<SealStatus, SystemError> {
        let status = self.barrier.seal_status(client).await?;
        Ok(SealStatus {
            initialized: status.initialised,
            sealed: self.is_sealed(),
            threshold: status.progress.t,
            shares: status.progress.n,
            progress: status.progress.progress,
            nonce: status.progress.nonce,
            storage: status.storage,
            zone_id: as_uuid(&status.zone),
        })
    }

    /// Takes one key share (hex or base64). The one that completes the threshold opens the zone.
    ///
    /// # Errors
    ///
    /// [`SystemError::Invalid`] for a share that is wrong, outdated or none.
    pub async fn unseal(&self, share: &Secret<String>, client: &str) -> Result<(), SystemError> {
        if !self.is_sealed() {
            return Ok(());
        }
        let share = decode_share(share.expose())?;
        let _one = self.turning.lock().await;
        let progress = self
            .barrier
            .unseal_share(share.expose(), client, self.clock.now())
            .await
            .map_err(unseal_error)?;
        if progress.sealed || self.open.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Err(error) = self.open_services().await {
            self.shut().await;
            return Err(error);
        }
        Ok(())
    }

    /// Forgets the shares of the current attempt.
    pub async fn unseal_reset(&self, client: &str, nonce: Option<&str>) -> Result<(), SystemError> {
        self.barrier
            .reset(client, nonce)
            .await
            .map_err(unseal_error)?;
        Ok(())
    }

    /// Seals the zone: keys and caches are gone when it returns.
    pub async fn seal(&self, _permit: &Permit) -> Result<(), SystemError> {
        self.close().await;
        Ok(())
    }

    /// Ends service in good order: audit chains signed and on stable storage, keys dropped.
    pub async fn close(&self) {
        let _one = self.turning.lock().await;
        self.shut().await;
    }

    /// Begins a new term of the barrier's key.
    pub async fn rotate(&self, permit: &Permit) -> Result<KeyStatus, SystemError> {
        Ok(self.barrier.rotate(permit.now()).await?)
    }

    /// The active term.
    pub fn key_status(&self, _permit: &Permit) -> Result<KeyStatus, SystemError> {
        Ok(self.barrier.key_status()?)
    }

    /// The zone's background work: ends what expired, removes leftovers, keeps audit devices
    /// running. Never returns; what is due is read from the store, so it can stop anywhere.
    pub async fn background(&self) {
        for round in 0_u64.. {
            match self.round(round.is_multiple_of(ROUNDS_PER_HEAD)).await {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => tokio::time::sleep(ROUND).await,
                Err(error) => {
                    if !self.is_sealed() {
                        tracing::error!(%error, "background work failed; it is tried again");
                    }
                    tokio::time::sleep(ROUND).await;
                }
            }
        }
    }

    /// One round of background work, with or without the audit devices; whether more is due now.
    ///
    /// # Errors
    ///
    /// The store's. Whatever was not done is still due.
    pub async fn round(&self, devices: bool) -> Result<bool, SystemError> {
        self.broker.tick();
        if self.is_sealed() {
            return Ok(false);
        }
        self.barrier.observe(self.clock.now());
        let rotated = self.rotate_if_due().await;
        let devices = match devices {
            true => self.tend_devices().await,
            false => Ok(()),
        };
        // An error in one part does not keep the other from being done.
        let swept = self.access.sweep().await;
        devices?;
        rotated?;
        Ok(swept?)
    }

    async fn tend_devices(&self) -> Result<(), SystemError> {
        let _one = self.turning.lock().await;
        if self.is_sealed() {
            return Ok(());
        }
        self.start_devices().await?;
        self.remember_heads().await
    }

    async fn open_services(&self) -> Result<(), SystemError> {
        self.access.load().await?;
        self.load_settings().await?;
        self.load_rotation().await?;
        self.start_devices().await?;
        if let Err(error) = self.note_version().await {
            // No reason to keep the zone closed; the next unseal notes it.
            tracing::warn!(%error, "the version of this program was not noted");
        }
        self.open.store(true, Ordering::Release);
        for listener in &self.listeners {
            listener.opened();
        }
        Ok(())
    }

    /// Closes everything: the door, the trail, the keys, what was made of them.
    async fn shut(&self) {
        let was_open = self.open.swap(false, Ordering::AcqRel);
        let heads = self.broker.close().await;
        if was_open && let Err(error) = self.store_heads(heads).await {
            tracing::warn!(%error, "the ends of the audit chains were not remembered");
        }
        // The keys first: what is dropped afterwards cannot be read again meanwhile.
        self.barrier.seal();
        *self.ceremonies.lock().await = Ceremonies::default();
        self.access.forget();
        self.forget_settings();
        for listener in &self.listeners {
            listener.closed();
        }
    }
}

/// A share as people type it: hex, or base64 in either alphabet.
pub(crate) fn decode_share(text: &str) -> Result<Secret<Vec<u8>>, SystemError> {
    let text = text.trim();
    if text.len() > 256 {
        return Err(SystemError::Invalid(
            "'key' is longer than any key share".into(),
        ));
    }
    let hex = matches!(text.len(), 64 | 66)
        .then(|| hex::decode(text).ok())
        .flatten();
    hex.or_else(|| STANDARD.decode(text).ok())
        .or_else(|| URL_SAFE.decode(text).ok())
        .map(Secret::new)
        .ok_or_else(|| SystemError::Invalid("'key' must be a valid hex or base64 string".into()))
}

fn as_uuid(hex: &str) -> String {
    match (
        hex.get(..8),
        hex.get(8..12),
        hex.get(12..16),
        hex.get(16..20),
        hex.get(20..),
    ) {
        (Some(a), Some(b), Some(c), Some(d), Some(e)) => format!("{a}-{b}-{c}-{d}-{e}"),
        _ => hex.to_owned(),
    }
}

pub(crate) fn unseal_error(error: UnsealError) -> SystemError {
    match error {
        UnsealError::NotInitialised => SystemError::NotInitialised,
        UnsealError::Barrier(error) => error.into(),
        other => SystemError::Invalid(other.to_string()),
    }
}

impl From<BarrierError> for SystemError {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Sealed => Self::Sealed,
            other => Self::Barrier(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_each_spelling() {
        let bytes: Vec<u8> = (200..233).collect();
        for text in [
            hex::encode(&bytes),
            STANDARD.encode(&bytes),
            URL_SAFE.encode(&bytes),
        ] {
            assert_eq!(
                decode_share(&format!(" {text}\n")).unwrap().expose(),
                &bytes
            );
        }
        assert!(decode_share("not a share!").is_err());
    }

    #[test]
    fn zone_ids_are_shown_as_uuids() {
        assert_eq!(
            as_uuid("00112233445566778899aabbccddeeff"),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(as_uuid(""), "");
    }
}
