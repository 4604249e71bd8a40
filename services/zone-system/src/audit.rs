//! Audit devices: their records behind the barrier, their start at unseal, their end at seal.
//!
//! A device's keys are drawn when it is enabled and never leave the barrier. The last line that a
//! device wrote is remembered there too, so that a file that somebody cut at its end is found out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zone_access::Permit;
use zone_audit::{
    AuditError, ChainHead, Device, DeviceConfig, DeviceKeys, Durability, StreamConfig,
};
use zone_barrier::Batch;
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_ports::audit::{AuditSink, AuditSinkError};
use zone_ports::{AuditStream, Key, KeyRange, random};
use zone_types::Secret;

use crate::audit_target::{AuditTarget, StreamTarget};
use crate::{System, SystemError, known_version};

const RECORD: &str = "core/audit/";
const HEAD: &str = "core/audit-head/";
/// The device that init makes.
pub(crate) const BUILT_IN: &str = "file";
/// Devices of a zone.
const MOST: usize = 16;
/// The version of both records.
const VERSION: u8 = 1;

/// Opens the file of a device, if its place is allowed.
pub type OpenAudit = Arc<dyn Fn(&Path) -> Result<Box<dyn AuditSink>, AuditSinkError> + Send + Sync>;

/// Makes the way to a receiver, if the configuration allows it. Connects to nothing yet.
pub type OpenStream =
    Arc<dyn Fn(&StreamTarget) -> Result<Box<dyn AuditStream>, AuditSinkError> + Send + Sync>;

/// Where audit files may be, and how they are written.
#[derive(Clone)]
pub struct AuditPlaces {
    /// Opens a file in one of the allowed directories, and no other.
    pub open: OpenAudit,
    /// Makes the way to one of the allowed receivers, and no other.
    pub open_stream: OpenStream,
    /// The file of the device that init makes.
    pub built_in: PathBuf,
    /// The name of this head, for epoch lines.
    pub head: String,
    /// When lines go to stable storage.
    pub durability: Durability,
    /// A file is rotated once it has this many bytes; `None`: never by size.
    pub rotate_bytes: Option<u64>,
}

/// A device, as `sys/audit` shows it.
#[derive(Clone, Debug)]
pub struct AuditDevice {
    /// Its name.
    pub path: String,
    /// Free text.
    pub description: String,
    /// Where its lines go.
    pub target: AuditTarget,
    /// Whether accessors stand in the clear.
    pub clear_accessors: bool,
    /// Whether answers to lists are written as the number of their keys.
    pub elide_lists: bool,
    /// What was asked for when it was made, as it was spelt; of an older device what amounts to it.
    pub options: BTreeMap<String, String>,
    /// The key that verifies its checkpoints: hex of its `SubjectPublicKeyInfo`; `None`: its
    /// lines are not chained.
    pub public_key: Option<String>,
}

/// A device to be made.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Where its lines go.
    pub target: AuditTarget,
    /// Whether accessors stand in the clear (Vault's `hmac_accessor=false`).
    pub clear_accessors: bool,
    /// Whether answers to lists are written as the number of their keys.
    pub elide_lists: bool,
    /// Make it although its receiver cannot be reached now (Vault's `skip_test`).
    pub skip_test: bool,
    /// All options as they were asked for: they are shown again, and change nothing.
    pub options: BTreeMap<String, String>,
}

impl NewDevice {
    /// A device that writes to `file`, every accessor hashed.
    pub fn file(name: &str, file: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            target: AuditTarget::File(file.to_owned()),
            clear_accessors: false,
            elide_lists: false,
            skip_test: false,
            options: BTreeMap::new(),
        }
    }
}

#[derive(Serialize, Deserialize, zeroize::ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(deserialize_with = "known_version")]
    v: u8,
    name: String,
    description: String,
    /// Empty for a stream.
    file_path: String,
    /// HMAC key, hex.
    hmac: String,
    /// Ed25519 key, PKCS#8 in base64; empty for a stream.
    signer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[zeroize(skip)]
    stream: Option<StreamTarget>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    clear_accessors: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elide_lists: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[zeroize(skip)]
    options: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadRecord {
    #[serde(deserialize_with = "known_version")]
    v: u8,
    head: ChainHead,
}

impl Record {
    fn draw(random: &dyn zone_ports::Random, new: &NewDevice) -> Result<Self, SystemError> {
        let hmac = Secret::new(random::bytes::<32>(random));
        let (file_path, stream, signer) = match &new.target {
            AuditTarget::File(path) => {
                let signer =
                    PrivateKey::generate(KeyType::Ed25519).map_err(|_| SystemError::Key)?;
                let signer = signer.to_pkcs8_der().map_err(|_| SystemError::Key)?;
                (path.clone(), None, STANDARD.encode(signer.expose()))
            }
            AuditTarget::Stream(target) => (String::new(), Some(target.clone()), String::new()),
        };
        Ok(Self {
            v: VERSION,
            name: new.name.clone(),
            description: new.description.clone(),
            file_path,
            hmac: hex::encode(hmac.expose()),
            signer,
            stream,
            clear_accessors: new.clear_accessors,
            elide_lists: new.elide_lists,
            options: new.options.clone(),
        })
    }

    fn target(&self) -> AuditTarget {
        match &self.stream {
            Some(target) => AuditTarget::Stream(target.clone()),
            None => AuditTarget::File(self.file_path.clone()),
        }
    }

    /// As they were asked for. A device that was made before that was kept shows what it does.
    fn options(&self) -> BTreeMap<String, String> {
        if !self.options.is_empty() {
            return self.options.clone();
        }
        let mut options = self.target().options();
        if self.clear_accessors {
            options.insert("hmac_accessor", "false".to_owned());
        }
        if self.elide_lists {
            options.insert("elide_list_responses", "true".to_owned());
        }
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        options.into_iter().map(owned).collect()
    }

    fn hmac(&self) -> Result<Secret<[u8; 32]>, SystemError> {
        let mut hmac = [0; 32];
        hex::decode_to_slice(&self.hmac, &mut hmac).map_err(|_| SystemError::Key)?;
        Ok(Secret::new(hmac))
    }

    fn signer(&self) -> Result<PrivateKey, SystemError> {
        let der = STANDARD
            .decode(&self.signer)
            .map_err(|_| SystemError::Key)?;
        PrivateKey::from_pkcs8_der(Secret::new(der).expose()).map_err(|_| SystemError::Key)
    }

    fn keys(&self) -> Result<DeviceKeys, SystemError> {
        Ok(DeviceKeys {
            hmac: self.hmac()?,
            signer: self.signer()?,
        })
    }
}

impl System {
    /// Every device.
    pub async fn audit_devices(&self, _permit: &Permit) -> Result<Vec<AuditDevice>, SystemError> {
        let show = |record: &Record| {
            Ok(AuditDevice {
                path: record.name.clone(),
                description: record.description.clone(),
                target: record.target(),
                clear_accessors: record.clear_accessors,
                elide_lists: record.elide_lists,
                options: record.options(),
                public_key: match record.stream {
                    Some(_) => None,
                    None => Some(hex::encode(record.signer()?.public_key_spki_der())),
                },
            })
        };
        self.device_records().await?.iter().map(show).collect()
    }

    /// Adds a device.
    ///
    /// # Errors
    ///
    /// [`SystemError::Invalid`] if the name is taken, if the file is in a place that is not
    /// allowed, or holds lines already (they are another device's, signed with another key, and
    /// the two together could never be verified), or if the receiver is not allowed or away.
    pub async fn enable_audit(&self, _permit: &Permit, new: &NewDevice) -> Result<(), SystemError> {
        let _one = self.turning.lock().await;
        let records = self.device_records().await?;
        check_new(&records, new)?;
        let record = Record::draw(&*self.random, new)?;
        let device = match &record.stream {
            None => {
                let sink = self.open_empty(&record).await.map_err(refused)?;
                self.start_with(&record, sink).await.map_err(refused)?
            }
            Some(target) => {
                let receiver = (self.places.open_stream)(target).map_err(SystemError::Sink);
                let receiver = receiver.map_err(refused)?;
                let receiver = match new.skip_test {
                    true => receiver,
                    false => reached(receiver).await.map_err(refused)?,
                };
                self.start_stream(&record, target, receiver).await?
            }
        };
        self.broker.add(device).map_err(SystemError::Audit)?;
        if let Err(error) = self.store_device(&record).await {
            // It must not run without a record: its keys would be gone with this process.
            if let Err(error) = self.broker.remove(&record.name).await {
                tracing::warn!(device = record.name, %error, "the audit device did not close well");
            }
            return Err(error);
        }
        Ok(())
    }

    async fn open_empty(&self, record: &Record) -> Result<Box<dyn AuditSink>, SystemError> {
        let mut sink = self.open(record).await?;
        if sink.size().map_err(SystemError::Sink)? > 0 {
            return invalid("field 'file_path': the file holds lines already; name a new file");
        }
        Ok(sink)
    }

    /// Removes a device; its file stays. One that is not there: no error, as in Vault.
    pub async fn disable_audit(&self, _permit: &Permit, name: &str) -> Result<(), SystemError> {
        let _one = self.turning.lock().await;
        let records = self.device_records().await?;
        if !records.iter().any(|record| record.name == name) {
            return Ok(());
        }
        match self.broker.remove(name).await {
            Err(AuditError::LastDevice) => {
                return Err(SystemError::Invalid(
                    "the last working audit device cannot be removed; enable another one first"
                        .into(),
                ));
            }
            Err(error) => {
                tracing::warn!(device = name, %error, "the audit device did not close well")
            }
            Ok(()) => {}
        }
        let batch = Batch::new()
            .delete(key(RECORD, name)?)
            .delete(key(HEAD, name)?);
        self.barrier.commit(batch).await?;
        self.remembered.lock().await.remove(name);
        Ok(())
    }

    /// The HMAC of `input` under the key of a device: what stands in its lines for that value.
    pub fn audit_hash(
        &self,
        _permit: &Permit,
        name: &str,
        input: &str,
    ) -> Result<Option<String>, SystemError> {
        Ok(self
            .broker
            .device(name.trim_end_matches('/'))
            .map(|device| device.hash(input)))
    }

    /// Writes the record of the device that every zone begins with.
    pub(crate) async fn store_built_in(&self) -> Result<(), SystemError> {
        let file = self.places.built_in.to_string_lossy().into_owned();
        let built_in = NewDevice::file(BUILT_IN, &file, "built in: every zone has one");
        let record = Record::draw(&*self.random, &built_in)?;
        self.store_device(&record).await
    }

    /// Starts each device that does not run. One that cannot start is logged and tried again by
    /// the background work; until one runs, no request is served (A1).
    pub(crate) async fn start_devices(&self) -> Result<(), SystemError> {
        for record in self.device_records().await? {
            if self.broker.device(&record.name).is_some() {
                continue;
            }
            match self.start(&record).await {
                Ok(device) => self.broker.add(device).map_err(SystemError::Audit)?,
                Err(error) => {
                    tracing::error!(
                        device = record.name,
                        error = chain(&error),
                        "audit device failed"
                    );
                }
            }
        }
        Ok(())
    }

    /// Stores the last line of each device, if it moved on since.
    pub(crate) async fn remember_heads(&self) -> Result<(), SystemError> {
        let heads = self.broker.list().into_iter();
        self.store_heads(heads.map(|device| (device.name, device.head)).collect())
            .await
    }

    pub(crate) async fn store_heads(
        &self,
        heads: Vec<(String, Option<ChainHead>)>,
    ) -> Result<(), SystemError> {
        let mut remembered = self.remembered.lock().await;
        let mut moved: Vec<(String, ChainHead)> = Vec::new();
        for (name, head) in heads {
            moved.extend(head.map(|head| (name, head)));
        }
        moved.retain(|(name, head)| remembered.get(name) != Some(head));
        if moved.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (name, head) in &moved {
            let record = HeadRecord {
                v: VERSION,
                head: *head,
            };
            batch = batch.put(key(HEAD, name)?, encode(&record)?);
        }
        self.barrier.commit(batch).await?;
        remembered.extend(moved);
        Ok(())
    }

    async fn start(&self, record: &Record) -> Result<Arc<Device>, SystemError> {
        let Some(target) = &record.stream else {
            let sink = self.open(record).await?;
            return self.start_with(record, sink).await;
        };
        // It need not be there: the device goes on trying in a thread of its own.
        let receiver = (self.places.open_stream)(target).map_err(SystemError::Sink)?;
        self.start_stream(record, target, receiver).await
    }

    async fn start_stream(
        &self,
        record: &Record,
        target: &StreamTarget,
        receiver: Box<dyn AuditStream>,
    ) -> Result<Arc<Device>, SystemError> {
        let config = StreamConfig {
            name: record.name.clone(),
            zone: self.barrier.seal_status("").await?.zone,
            head: self.places.head.clone(),
            hmac_accessor: !record.clear_accessors,
            elide_lists: record.elide_lists,
            acknowledges: target.acknowledges(),
        };
        Device::stream(config, &record.hmac()?, receiver, self.clock.clone())
            .map_err(SystemError::Audit)
    }

    /// Opens a device's file, away from the workers: it goes to a disk.
    async fn open(&self, record: &Record) -> Result<Box<dyn AuditSink>, SystemError> {
        let (open, path) = (self.places.open.clone(), record.file_path.clone());
        let opened = tokio::task::spawn_blocking(move || open(Path::new(&path))).await;
        let opened = opened.unwrap_or_else(|panic| {
            Err(AuditSinkError {
                doing: "opened",
                source: std::io::Error::other(panic),
            })
        });
        opened.map_err(SystemError::Sink)
    }

    async fn start_with(
        &self,
        record: &Record,
        sink: Box<dyn AuditSink>,
    ) -> Result<Arc<Device>, SystemError> {
        let remembered = match self.barrier.get(&key(HEAD, &record.name)?).await? {
            Some(plain) => Some(decode::<HeadRecord>(&plain.value)?.head),
            None => None,
        };
        let config = DeviceConfig {
            name: record.name.clone(),
            zone: self.barrier.seal_status("").await?.zone,
            head: self.places.head.clone(),
            hmac_accessor: !record.clear_accessors,
            elide_lists: record.elide_lists,
            durability: self.places.durability,
            rotate_bytes: self.places.rotate_bytes,
            remembered,
            counts: true,
        };
        let barrier = self.barrier.clone();
        let revision = Arc::new(move || barrier.last_revision().0);
        Device::start(config, record.keys()?, sink, self.clock.clone(), revision)
            .await
            .map_err(SystemError::Audit)
    }

    async fn store_device(&self, record: &Record) -> Result<(), SystemError> {
        let batch = Batch::new().put(key(RECORD, &record.name)?, encode(record)?);
        self.barrier.commit(batch).await?;
        Ok(())
    }

    async fn device_records(&self) -> Result<Vec<Record>, SystemError> {
        let pairs = self
            .barrier
            .scan(&KeyRange::prefix(RECORD), MOST + 1)
            .await?;
        pairs
            .iter()
            .map(|(_, plain)| decode(&plain.value))
            .collect()
    }
}

fn check_new(records: &[Record], new: &NewDevice) -> Result<(), SystemError> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
    let name = &new.name;
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return invalid("the name of an audit device has 1 to 64 letters, digits, '-' and '_'");
    }
    if new.description.len() > 1024 {
        return invalid("field 'description': at most 1024 bytes");
    }
    if records.iter().any(|record| record.name == *name) {
        return invalid("path already in use");
    }
    if let AuditTarget::File(file) = &new.target {
        if !Path::new(file).is_absolute() {
            return invalid("field 'file_path': give an absolute path");
        }
        if records.iter().any(|record| record.file_path == *file) {
            return invalid("field 'file_path': another audit device writes that file");
        }
    }
    if records.len() >= MOST {
        return invalid("there are 16 audit devices already");
    }
    Ok(())
}

/// The receiver, if it can be reached now. Asked away from the workers: it goes to the network.
async fn reached(mut receiver: Box<dyn AuditStream>) -> Result<Box<dyn AuditStream>, SystemError> {
    let tried = tokio::task::spawn_blocking(move || {
        let tried = receiver.deliver(&[]);
        tried.map(|()| receiver)
    });
    match tried.await {
        Ok(Ok(receiver)) => Ok(receiver),
        Ok(Err(undelivered)) => Err(SystemError::Sink(undelivered.error)),
        Err(panic) => Err(SystemError::Sink(AuditSinkError {
            doing: "reached",
            source: std::io::Error::other(panic),
        })),
    }
}

fn invalid<T>(text: &str) -> Result<T, SystemError> {
    Err(SystemError::Invalid(text.to_owned()))
}

/// A device that cannot start is the fault of the path that was given.
fn refused(error: SystemError) -> SystemError {
    match error {
        SystemError::Audit(_) | SystemError::Sink(_) => SystemError::Invalid(chain(&error)),
        other => other,
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn key(prefix: &str, name: &str) -> Result<Key, SystemError> {
    Key::new(format!("{prefix}{name}"))
        .map_err(|_| SystemError::Invalid("the name is too long".into()))
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, SystemError> {
    serde_json::to_vec(record).map_err(|_| SystemError::Corrupt)
}

/// Another version, an unknown or a missing field is corrupt.
fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, SystemError> {
    serde_json::from_slice(bytes).map_err(|_| SystemError::Corrupt)
}
