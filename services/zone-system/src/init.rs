//! Making a zone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zone_barrier::{InitAsk, InitError};
use zone_types::Secret;

use crate::{System, SystemError};

/// How key shares are to be made.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Unseal key shares: 1 to 255.
    pub shares: u8,
    /// How many of them unseal: 2 to `shares`, or 1 of 1.
    pub threshold: u8,
    /// One age recipient for each share, or none.
    pub age_recipients: Vec<String>,
}

/// Key shares as they are handed out, once.
pub struct HandedShares {
    shares: Vec<Secret<Vec<u8>>>,
    encrypted: Option<Vec<String>>,
}

impl HandedShares {
    /// The shares in hex; if they were encrypted, the hex of the age files.
    pub fn keys_hex(&self) -> Vec<String> {
        match &self.encrypted {
            Some(files) => files.iter().map(hex::encode).collect(),
            None => self
                .shares
                .iter()
                .map(|share| hex::encode(share.expose()))
                .collect(),
        }
    }

    /// The shares in base64; if they were encrypted, the base64 of the age files.
    pub fn keys_base64(&self) -> Vec<String> {
        match &self.encrypted {
            Some(files) => files.iter().map(|file| STANDARD.encode(file)).collect(),
            None => self
                .shares
                .iter()
                .map(|share| STANDARD.encode(share.expose()))
                .collect(),
        }
    }

    /// The shares as armored age files, if that was asked for. Each holds its share in hex.
    pub fn encrypted(&self) -> Option<Vec<String>> {
        self.encrypted.clone()
    }
}

impl std::fmt::Debug for HandedShares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} shares", self.shares.len())
    }
}

/// What only the caller of init ever sees.
#[derive(Debug)]
pub struct Initialised {
    /// The key shares.
    pub shares: HandedShares,
    root: Secret<String>,
}

impl Initialised {
    /// The zone's first token.
    pub fn root_token(&self) -> &str {
        self.root.expose()
    }
}

impl System {
    /// Makes the zone. It stays sealed. A crash or failure before the end leaves a store that can
    /// be initialised again.
    pub async fn init(&self, options: InitOptions) -> Result<Initialised, SystemError> {
        let _one = self.turning.lock().await;
        check_recipients(&options)?;
        let ask = InitAsk {
            shares: options.shares,
            threshold: options.threshold,
        };
        let prepared = self.barrier.init_prepare(ask, self.clock.now()).await;
        let prepared = prepared.map_err(init_error)?;
        let shares = self.hand_out(&options, prepared.shares)?;
        let root = self.fill().await;
        self.access.forget();
        let root = root?;
        self.barrier.init_finish().await.map_err(init_error)?;
        self.barrier.seal();
        Ok(Initialised { shares, root })
    }

    /// The shares as their keepers get them.
    pub(crate) fn hand_out(
        &self,
        options: &InitOptions,
        shares: Vec<Secret<Vec<u8>>>,
    ) -> Result<HandedShares, SystemError> {
        let encrypted = self.encrypt(&options.age_recipients, &shares)?;
        Ok(HandedShares { shares, encrypted })
    }

    /// Writes the services' first records; the zone's first token.
    async fn fill(&self) -> Result<Secret<String>, SystemError> {
        self.access.bootstrap().await?;
        self.store_built_in().await?;
        Ok(self.access.create_root_token().await?.text)
    }

    fn encrypt(
        &self,
        recipients: &[String],
        shares: &[Secret<Vec<u8>>],
    ) -> Result<Option<Vec<String>>, SystemError> {
        if recipients.is_empty() {
            return Ok(None);
        }
        let pairs = recipients.iter().zip(shares);
        let files = pairs.map(|(recipient, share)| {
            let text = Secret::new(hex::encode(share.expose()));
            self.recipients
                .encrypt(recipient, text.expose().as_bytes())
                .map_err(|error| SystemError::Invalid(format!("field 'age_recipients': {error}")))
        });
        files.collect::<Result<_, _>>().map(Some)
    }
}

/// One recipient for each share, or none.
pub(crate) fn check_recipients(options: &InitOptions) -> Result<(), SystemError> {
    let given = options.age_recipients.len();
    if given > 0 && given != usize::from(options.shares) {
        return Err(SystemError::Invalid(
            "field 'age_recipients': give exactly one recipient for each share".into(),
        ));
    }
    Ok(())
}

pub(crate) fn init_error(error: InitError) -> SystemError {
    match error {
        InitError::Initialised => SystemError::AlreadyInitialised,
        InitError::Barrier(error) => error.into(),
        other => SystemError::Invalid(other.to_string()),
    }
}
