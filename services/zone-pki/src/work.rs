//! Where keys are made and signatures computed: short work at once, long work on blocking threads,
//! as much at a time as there are processors. Making keys and signing have separate queues, so
//! that a crowd that waits for RSA keys does not hold up signatures.

use std::sync::Arc;

use tokio::sync::Semaphore;
use zone_crypto::sign::{KeyAlgorithm, KeyType, PrivateKey};

use crate::PkiError;

/// The two queues.
pub(crate) struct Workers {
    making: Arc<Semaphore>,
    signing: Arc<Semaphore>,
}

impl Workers {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            making: Arc::new(Semaphore::new(threads)),
            signing: Arc::new(Semaphore::new(threads)),
        }
    }

    /// A new key.
    pub(crate) async fn generate(&self, key_type: KeyType) -> Result<PrivateKey, PkiError> {
        let make = move || {
            PrivateKey::generate(key_type).map_err(|_| PkiError::Internal("generating a key"))
        };
        match key_type {
            KeyType::P256 | KeyType::P384 | KeyType::P521 | KeyType::Ed25519 => make(),
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                blocking(&self.making, make).await
            }
        }
    }

    /// Runs `sign`, which makes a signature by a key of kind `algorithm`. `heavy` says that there
    /// is much to do besides.
    pub(crate) async fn sign<T: Send + 'static>(
        &self,
        algorithm: KeyAlgorithm,
        heavy: bool,
        sign: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
    ) -> Result<T, PkiError> {
        if heavy || matches!(algorithm, KeyAlgorithm::Rsa { .. }) {
            return blocking(&self.signing, sign).await;
        }
        sign()
    }
}

async fn blocking<T: Send + 'static>(
    queue: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
) -> Result<T, PkiError> {
    let turn = queue
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| PkiError::Internal("waiting for a worker"))?;
    let task = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    task.await
        .map_err(|_| PkiError::Internal("running a worker"))?
}
