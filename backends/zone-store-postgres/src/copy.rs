//! A copy of the store in a file, and back. See `docs/formats/store-postgres.md`.
//!
//! A PostgreSQL store cannot be a file, so the copy is one that a store is restored from. It is
//! read in one transaction, and written under another name until it is whole and durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio_postgres::Transaction;
use zone_crypto::hash::Sha256;
use zone_ports::store::{MAX_KEY, MAX_VALUE, Revision};

use crate::error::Fault;
use crate::guard::Guard;
use crate::options::PostgresOptions;
use crate::schema::{self, Text};
use crate::{connect, revision};

/// What a copy begins with.
pub(crate) const MAGIC: &[u8; 16] = b"zonehead-copy-1\n";
/// Before each record, and before the end.
const RECORD: u8 = 1;
const END: u8 = 0;

/// Records that are fetched, or inserted, at once.
const PART: usize = 100;
/// Bytes after which a part is inserted though it holds fewer.
const PART_BYTES: usize = 4 * 1024 * 1024;

const ONE_INSTANT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Writes the copy. On a connection of its own, so that the pool serves on.
pub(crate) async fn take(options: &PostgresOptions, target: &Path) -> Result<Revision, Fault> {
    let client = connect::connect(options).await?;
    let (partial, file) = Partial::create(target).await?;
    let mut writer = Writer {
        out: BufWriter::new(file),
        hash: Sha256::new(),
        count: 0,
    };
    client.batch_execute(ONE_INSTANT).await?;
    let text = Text::new(&options.schema);
    let head = client.query_one(&text.head(), &[]).await?;
    writer.head(head.get(1), head.get(2)).await?;
    client.batch_execute(&text.all()).await?;
    let fetch = client
        .prepare(&format!("FETCH {PART} FROM all_records"))
        .await?;
    loop {
        let asked = tokio::time::timeout(options.answer_within, client.query(&fetch, &[]));
        let rows = asked.await.map_err(|_| Fault::Silent)??;
        for row in &rows {
            writer.record(row.get(0), row.get(1), row.get(2)).await?;
        }
        if rows.len() < PART {
            break;
        }
    }
    writer.finish().await?;
    partial.finish(target).await?;
    revision(head.get(1))
}

struct Writer {
    out: BufWriter<File>,
    hash: Sha256,
    count: u64,
}

impl Writer {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes).await
    }

    async fn head(&mut self, last: i64, fence: i64) -> io::Result<()> {
        self.write(MAGIC).await?;
        self.write(&last.to_be_bytes()).await?;
        self.write(&fence.to_be_bytes()).await
    }

    async fn record(&mut self, key: &[u8], value: &[u8], revision: i64) -> io::Result<()> {
        let mut head = vec![RECORD];
        head.extend((key.len() as u16).to_be_bytes());
        head.extend((value.len() as u32).to_be_bytes());
        head.extend(revision.to_be_bytes());
        self.count += 1;
        self.write(&head).await?;
        self.write(key).await?;
        self.write(value).await
    }

    async fn finish(mut self) -> io::Result<()> {
        let count = self.count;
        self.write(&[END]).await?;
        self.write(&count.to_be_bytes()).await?;
        let digest = self.hash.clone().finish();
        self.out.write_all(&digest).await?;
        self.out.flush().await?;
        self.out.get_ref().sync_all().await
    }
}

/// A file that is not whole yet; removed unless it gets its name.
struct Partial(PathBuf);

impl Partial {
    async fn create(target: &Path) -> Result<(Self, File), Fault> {
        if fs::try_exists(target).await? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        // What a crash left of an earlier try.
        match fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).await?;
        Ok((Self(path), file))
    }

    /// Gives the file its name, durably; fails if there is one of that name.
    async fn finish(self, target: &Path) -> Result<(), Fault> {
        fs::hard_link(&self.0, target).await?;
        fs::remove_file(&self.0).await?;
        let parent = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or(Path::new("."))).await?;
        Ok(directory.sync_all().await?)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Already renamed, or nothing more can be done.
        drop(std::fs::remove_file(&self.0));
    }
}

/// A record as it stands in a copy.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    revision: i64,
}

/// Reads a copy strictly: what it hands out is bounded, in order, and of the copy's time.
struct Reader<R> {
    from: R,
    hash: Sha256,
    last: i64,
    fence: i64,
    before: Vec<u8>,
    count: u64,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn open(from: R) -> Result<Self, Fault> {
        let mut reader = Self {
            from,
            hash: Sha256::new(),
            last: 0,
            fence: 0,
            before: Vec::new(),
            count: 0,
        };
        if reader.array::<16>().await? != *MAGIC {
            return Err(Fault::Copy("it is none, or of another version"));
        }
        reader.last = i64::from_be_bytes(reader.array().await?);
        reader.fence = i64::from_be_bytes(reader.array().await?);
        if reader.last < 0 || reader.fence < 0 {
            return Err(Fault::Copy("its numbers are negative"));
        }
        Ok(reader)
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        match self.from.read_exact(bytes).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Fault::Copy("it is cut short"));
            }
            Err(error) => return Err(error.into()),
        }
        self.hash.update(bytes);
        Ok(())
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    /// The next record; `None` at the end of a copy that is whole.
    async fn next(&mut self) -> Result<Option<Record>, Fault> {
        match self.array().await? {
            [RECORD] => {}
            [END] => return self.end().await,
            _ => return Err(Fault::Copy("a record begins with another byte")),
        }
        let key = usize::from(u16::from_be_bytes(self.array().await?));
        let value = u32::from_be_bytes(self.array().await?) as usize;
        let revision = i64::from_be_bytes(self.array().await?);
        if key == 0 || key > MAX_KEY || value > MAX_VALUE {
            return Err(Fault::Copy("a record is longer than one can be"));
        }
        if revision < 1 || revision > self.last {
            return Err(Fault::Copy("a record is of another time"));
        }
        let (mut key, mut value) = (vec![0; key], vec![0; value]);
        self.fill(&mut key).await?;
        self.fill(&mut value).await?;
        if key <= self.before {
            return Err(Fault::Copy("its records are not in order"));
        }
        self.before.clone_from(&key);
        self.count += 1;
        Ok(Some(Record {
            key,
            value,
            revision,
        }))
    }

    async fn end(&mut self) -> Result<Option<Record>, Fault> {
        let count = u64::from_be_bytes(self.array().await?);
        let expected = self.hash.clone().finish();
        let digest: [u8; 32] = self.array().await?;
        if count != self.count || digest != expected {
            return Err(Fault::Copy("its checksum does not fit"));
        }
        match self.from.read(&mut [0]).await? {
            0 => Ok(None),
            _ => Err(Fault::Copy("something stands behind its end")),
        }
    }
}

/// Puts a copy into a schema that holds no store.
pub(crate) async fn restore(options: Arc<PostgresOptions>, copy: &Path) -> Result<Revision, Fault> {
    let file = File::open(copy).await?;
    let mut reader = Reader::open(BufReader::new(file)).await?;
    let _guard = Guard::take(options.clone()).await?;
    let mut client = connect::connect(&options).await?;
    schema::migrate(&mut client, &options.schema).await?;
    let text = Text::new(&options.schema);
    let transaction = client.transaction().await?;
    let row = transaction.query_one(&text.is_used(), &[]).await?;
    if row.get(0) {
        return Err(Fault::InUse);
    }
    let mut part = Vec::new();
    let mut bytes = 0;
    while let Some(record) = reader.next().await? {
        bytes += record.key.len() + record.value.len();
        part.push(record);
        if part.len() == PART || bytes > PART_BYTES {
            insert(&transaction, &text, &part).await?;
            (bytes, part) = (0, Vec::new());
        }
    }
    insert(&transaction, &text, &part).await?;
    let head = [
        &reader.last as &(dyn tokio_postgres::types::ToSql + Sync),
        &reader.fence,
    ];
    transaction.execute(&text.restored(), &head).await?;
    transaction.commit().await?;
    revision(reader.last)
}

async fn insert(transaction: &Transaction<'_>, text: &Text, part: &[Record]) -> Result<(), Fault> {
    let keys: Vec<&[u8]> = part.iter().map(|record| &record.key[..]).collect();
    let values: Vec<&[u8]> = part.iter().map(|record| &record.value[..]).collect();
    let revisions: Vec<i64> = part.iter().map(|record| record.revision).collect();
    let parameters: crate::Parameters<'_> = &[&keys, &values, &revisions];
    transaction.execute(&text.restore(), parameters).await?;
    Ok(())
}
