//! The mount's key: role ids, secret ids and accessors stand in storage keys as HMACs under it
//! (B1).

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};
use zone_access::Mount;
use zone_barrier::{BarrierError, Batch};
use zone_crypto::hmac;
use zone_ports::random;

use crate::record::{V1, decode};
use crate::{AuthError, AuthService};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    v: V1,
    key: String,
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The HMACs of one mount.
pub(super) struct Codes(hmac::Key);

impl Codes {
    pub(super) fn role_id(&self, role_id: &str) -> String {
        self.code(b"role-id\0", b"", role_id)
    }

    pub(super) fn secret_id(&self, role: &str, secret_id: &str) -> String {
        self.code(b"secret-id\0", role.as_bytes(), secret_id)
    }

    pub(super) fn accessor(&self, role: &str, accessor: &str) -> String {
        self.code(b"accessor\0", role.as_bytes(), accessor)
    }

    fn code(&self, tag: &[u8], role: &[u8], text: &str) -> String {
        hex::encode(self.0.sign_parts(&[tag, role, b"\0", text.as_bytes()]))
    }
}

impl AuthService {
    /// The HMACs of `mount`. A mount that has no role yet has no key: codes under another find
    /// nothing, at the same price.
    pub(super) async fn codes(&self, mount: &Mount) -> Result<Codes, AuthError> {
        Ok(match self.get(&mount.key("key", "hmac")?).await? {
            Some(plain) => {
                let record: KeyRecord = decode(&plain)?;
                let key = Zeroizing::new(hex::decode(&record.key).map_err(|_| AuthError::Corrupt)?);
                Codes(hmac::Key::new(&key))
            }
            None => Codes(hmac::Key::new(&[0; 32])),
        })
    }

    /// As [`AuthService::codes`], for the first role of a mount.
    pub(super) async fn codes_or_new(&self, mount: &Mount) -> Result<Codes, AuthError> {
        let key = mount.key("key", "hmac")?;
        if self.get(&key).await?.is_none() {
            let drawn = Zeroizing::new(random::bytes::<32>(&*self.random));
            let record = KeyRecord {
                v: V1,
                key: hex::encode(*drawn),
            };
            let batch = Batch::new()
                .require_absent(key.clone())
                .put(key, serde_json::to_vec(&record)?);
            match self.barrier.commit(batch).await {
                // Somebody else drew one.
                Ok(_) | Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        self.codes(mount).await
    }
}
