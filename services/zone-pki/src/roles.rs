//! Writing and reading roles.

use std::sync::Arc;

use zone_access::Permit;
use zone_barrier::{BarrierError, Batch};
use zone_ports::KeyRange;

use crate::role::{self, Role};
use crate::{ATTEMPTS, PkiError, PkiService, keys, record};

impl PkiService {
    /// The role `name`.
    pub async fn role(&self, permit: &Permit, name: &str) -> Result<Arc<Role>, PkiError> {
        let slot = self.slot(permit);
        if let Some(role) = slot.role(name) {
            crate::cache::barrier_is_open(&self.barrier)?;
            return Ok(role);
        }
        if role::check_name(name).is_err() {
            return Err(PkiError::NotFound);
        }
        let generation = slot.generation();
        let found = self.barrier.get(&keys::role(permit.mount(), name)?).await?;
        let plain = found.ok_or(PkiError::NotFound)?;
        let role: Arc<Role> = Arc::new(record::decode(keys::ROLE, &plain.value)?);
        slot.keep_role(name, &role, generation);
        Ok(role)
    }

    /// Writes the role `name` and returns its one form. Fields that `role` leaves at their default
    /// are reset, as in Vault.
    pub async fn put_role(
        &self,
        permit: &Permit,
        name: &str,
        role: Role,
    ) -> Result<Role, PkiError> {
        role::check_name(name)?;
        let role = role.checked(&self.reserved)?;
        let batch = Batch::new().put(keys::role(permit.mount(), name)?, record::encode(&role)?);
        self.commit_role(permit, name, batch).await?;
        Ok(role)
    }

    /// Changes fields of the stored role `name`. `change` is called again if somebody else was
    /// faster.
    pub async fn patch_role<E: From<PkiError>>(
        &self,
        permit: &Permit,
        name: &str,
        change: impl Fn(&mut Role) -> Result<(), E>,
    ) -> Result<Role, E> {
        role::check_name(name).map_err(|_| PkiError::NotFound)?;
        let key = keys::role(permit.mount(), name)?;
        for _ in 0..ATTEMPTS {
            let plain = self
                .barrier
                .get(&key)
                .await
                .map_err(PkiError::from)?
                .ok_or(PkiError::NotFound)?;
            let mut role: Role = record::decode(keys::ROLE, &plain.value)?;
            change(&mut role)?;
            let role = role.checked(&self.reserved)?;
            let batch = Batch::new()
                .require(key.clone(), Some(plain.revision))
                .put(key.clone(), record::encode(&role)?);
            match self.commit_role(permit, name, batch).await {
                Ok(()) => return Ok(role),
                Err(PkiError::Barrier(BarrierError::Conflict)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PkiError::Busy.into())
    }

    /// Removes the role `name`; no error if there is none, as in Vault.
    pub async fn delete_role(&self, permit: &Permit, name: &str) -> Result<(), PkiError> {
        if role::check_name(name).is_err() {
            return Ok(());
        }
        let batch = Batch::new().delete(keys::role(permit.mount(), name)?);
        self.commit_role(permit, name, batch).await
    }

    /// The names of all roles, in order.
    pub async fn role_names(&self, permit: &Permit) -> Result<Vec<String>, PkiError> {
        let prefix = permit.mount().prefix(keys::ROLE);
        let cut = prefix.len();
        let mut range = KeyRange::prefix(prefix);
        let mut names = Vec::new();
        loop {
            let page = self.barrier.scan_keys(&range, 1000).await?;
            names.extend(
                page.iter()
                    .map(|key| String::from_utf8_lossy(&key.as_bytes()[cut..]).into_owned()),
            );
            match page.last() {
                Some(key) if page.len() == 1000 => range = range.after(key),
                _ => return Ok(names),
            }
        }
    }

    async fn commit_role(&self, permit: &Permit, name: &str, batch: Batch) -> Result<(), PkiError> {
        let name = name.to_owned();
        self.commit_then(permit, batch, move |slot| slot.role_changed(&name))
            .await
    }
}
