//! The store on a PostgreSQL server.
//!
//! ```text
//! apply ──▶ one statement, one transaction: number, fence and session judged, records written
//! get, scan ──▶ one statement each, on any connection of the pool
//! ```
//!
//! # What must hold
//!
//! * One group is one transaction, which the server has synced when it answers: `fsync`,
//!   `full_page_writes` and `synchronous_commit` are checked at each connection and in each group.
//! * Once `last_group` has answered, no earlier `apply` takes effect, wherever it still is: in the
//!   network, in the server's queue or in a transaction. `last_group` counts `head.session` up, for
//!   which it waits for the row's lock; a group that was sent under another count is refused.
//! * A server that is away is [`StoreError::Unavailable`] within a bounded time, and serves again
//!   without a restart of the head when it is back.
//! * One head has the store open. Passwords and certificates are read at each new connection.
//!
//! # Deliberately absent
//!
//! No preconditions and no commit log (the committer's), no encryption (the barrier's), no pool
//! (deadpool's), no leadership: a second head is refused, not made a standby.
//!
//! Start at [`PostgresStore::open`], then `schema` and `migrations/1.sql`; the layout is in
//! `docs/formats/store-postgres.md`, the choices in `docs/decisions/0006-postgresql.md`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use zone_ports::store::{GroupLimit, Op, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};

mod connect;
mod copy;
mod error;
mod guard;
mod options;
mod schema;
mod tls;

use connect::{Connection, Lease, Pool};
use error::{Fault, KIND};
use guard::Guard;
pub use options::{OptionFault, Password, PostgresOptions, TlsFiles};

/// Most pairs of one scan.
const MAX_SCAN: usize = 1000;

/// A store in one schema of a database. A clone is the same store.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<PostgresOptions>,
    pool: Pool,
    guard: Option<Guard>,
    /// The count under which groups are sent. Held by the group under way and by who asks for the
    /// last one.
    session: tokio::sync::Mutex<i64>,
    /// Held while a copy is made: two of one name would take each other's file.
    copying: tokio::sync::Mutex<()>,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl PostgresStore {
    /// Connects, migrates the schema and takes the store for this head alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the server is away, is unsafe, or serves another head, and if
    /// the schema is a newer zonehead's; [`StoreError::Corrupt`] if it holds something else.
    pub async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self::begin(options).await?)
    }

    async fn begin(options: PostgresOptions) -> Result<Self, Fault> {
        let options = Arc::new(options);
        let guard = match options.exclusive {
            true => Some(Guard::take(options.clone()).await?),
            false => None,
        };
        let mut client = connect::connect(&options).await?;
        schema::migrate(&mut client, &options.schema).await?;
        let inner = Inner {
            pool: connect::pool(options.clone())?,
            options,
            guard,
            session: tokio::sync::Mutex::new(0),
            copying: tokio::sync::Mutex::default(),
        };
        inner.last_group().await?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Puts a copy that [`Store::snapshot`] made into a schema that holds no store yet, whole or not
    /// at all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the schema holds a store; [`StoreError::Corrupt`] if the copy
    /// is not whole.
    pub async fn restore(options: PostgresOptions, copy: &Path) -> Result<Revision, StoreError> {
        Ok(copy::restore(Arc::new(options), copy).await?)
    }

    /// Connections: those that are made, and those of them that are at work.
    pub fn connections(&self) -> (usize, usize) {
        let status = self.inner.pool.status();
        (status.size, status.size.saturating_sub(status.available))
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresStore({:?})", self.inner.options)
    }
}

impl Inner {
    /// One statement on one connection, answered in time or not at all.
    async fn once(
        &self,
        pick: fn(&Connection) -> &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        if let Some(guard) = &self.guard {
            let checked = tokio::time::timeout(self.options.answer_within, guard.check());
            checked.await.map_err(|_| Fault::Silent)??;
        }
        let lease = Lease::take(&self.pool).await?;
        let connection = lease.connection()?;
        let asked = connection.query(pick(connection), parameters);
        let rows = tokio::time::timeout(self.options.answer_within, asked).await;
        let rows = rows.map_err(|_| Fault::Silent)?;
        let usable = !connection.is_closed();
        let rows = rows.map_err(Fault::from);
        if usable && !rows.as_ref().is_err_and(Fault::is_of_connection) {
            lease.keep();
        }
        rows
    }

    /// A read. A connection that the server has ended since its last use is not the last word.
    async fn read(
        &self,
        pick: fn(&Connection) -> &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        match self.once(pick, parameters).await {
            Err(fault) if fault.is_of_connection() => {
                self.pool.retain(|connection, _| !connection.is_closed());
                self.once(pick, parameters).await
            }
            answer => answer,
        }
    }

    async fn last_group(&self) -> Result<Revision, Fault> {
        let mut session = self.session.lock().await;
        let rows = self.read(|c| &c.last, &[]).await?;
        let row = rows.first().ok_or(Fault::Layout("its head has no row"))?;
        *session = row.get(1);
        revision(row.get(0))
    }

    async fn apply(&self, group: &WriteSet) -> Result<(), Fault> {
        let session = self.session.lock().await;
        // Beyond what the columns hold no number is the next one.
        let number = i64::try_from(group.number.0).map_err(|_| Fault::Fenced)?;
        let fence = i64::try_from(group.fence).map_err(|_| Fault::Fenced)?;
        let (mut keys, mut values, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for op in &group.ops {
            match op {
                Op::Put { key, value } => {
                    keys.push(key.as_bytes());
                    values.push(&value[..]);
                }
                Op::Delete { key } => removed.push(key.as_bytes()),
            }
        }
        let parameters: Parameters<'_> = &[&*session, &number, &fence, &keys, &values, &removed];
        let rows = self.once(|c| &c.apply, parameters).await?;
        match rows.first().map(|row| row.get::<_, i16>(0)) {
            Some(schema::APPLIED) => Ok(()),
            Some(schema::FENCED) => Err(Fault::Fenced),
            Some(schema::SUPERSEDED) => Err(Fault::Superseded),
            Some(schema::UNSAFE) => Err(Fault::Unsafe(
                "fsync, full_page_writes or synchronous_commit was turned off".into(),
            )),
            _ => Err(Fault::Layout("apply_group is not the one known here")),
        }
    }
}

/// A number of the server's as the port's.
fn revision(number: i64) -> Result<Revision, Fault> {
    let number = u64::try_from(number).map_err(|_| Fault::Layout("a number is negative"))?;
    Ok(Revision(number))
}

fn versioned(row: &Row, at: usize) -> Result<Versioned, Fault> {
    Ok(Versioned {
        value: Bytes::copy_from_slice(row.get(at)),
        revision: revision(row.get(at + 1))?,
    })
}

fn pair(row: &Row) -> Result<(Key, Versioned), Fault> {
    let key = Key::new(Bytes::copy_from_slice(row.get(0)));
    let key = key.map_err(|_| Fault::Layout("a key is empty or too long"))?;
    Ok((key, versioned(row, 1)?))
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        let rows = self.inner.read(|c| &c.get, &[&key.as_bytes()]).await?;
        Ok(rows.first().map(|row| versioned(row, 0)).transpose()?)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        let limit = limit.min(MAX_SCAN) as i64;
        let start = &range.start[..];
        let rows = match &range.end {
            None => self.inner.read(|c| &c.scan, &[&start, &limit]).await?,
            Some(end) => {
                let end = &end[..];
                self.inner
                    .read(|c| &c.scan_to, &[&start, &end, &limit])
                    .await?
            }
        };
        Ok(rows.iter().map(pair).collect::<Result<_, _>>()?)
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        Ok(self.inner.apply(&group).await?)
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        let answer = self.inner.last_group().await;
        answer.map_err(Fault::of_question)
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        let _copying = self.inner.copying.lock().await;
        Ok(copy::take(&self.inner.options, target).await?)
    }

    fn group_limit(&self) -> GroupLimit {
        GroupLimit {
            ops: 4096,
            bytes: 8 * 1024 * 1024,
        }
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}
