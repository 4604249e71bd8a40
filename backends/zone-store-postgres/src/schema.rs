//! The tables, their versions, and what is said to them.
//!
//! Every migration stands here for good; a new one is added behind the last. They run in one
//! transaction under an advisory lock, so heads that start together do not meet in them.

use tokio_postgres::Client;

use crate::error::Fault;

/// The format that this program reads and writes: one migration for each.
pub(crate) const FORMAT: i32 = MIGRATIONS.len() as i32;

/// `{s}` stands for the schema's name, quoted.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1.sql")];

/// What `apply_group` answers.
pub(crate) const APPLIED: i16 = 0;
pub(crate) const FENCED: i16 = 1;
pub(crate) const SUPERSEDED: i16 = 2;
pub(crate) const UNSAFE: i16 = 3;

/// The name of a schema: quoting it is enough, and it needs no escapes.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    (1..=63).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("pg_")
}

/// Statements for the store in `schema`.
pub(crate) struct Text {
    schema: String,
}

impl Text {
    pub(crate) fn new(schema: &str) -> Self {
        Self {
            schema: format!("\"{schema}\""),
        }
    }

    fn of(&self, text: &str) -> String {
        text.replace("{s}", &self.schema)
    }

    pub(crate) fn get(&self) -> String {
        self.of("SELECT value, revision FROM {s}.records WHERE key = $1")
    }

    pub(crate) fn scan(&self) -> String {
        self.of("SELECT key, value, revision FROM {s}.records \
             WHERE key >= $1 ORDER BY key LIMIT $2")
    }

    pub(crate) fn scan_to(&self) -> String {
        self.of("SELECT key, value, revision FROM {s}.records \
             WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3")
    }

    pub(crate) fn apply(&self) -> String {
        self.of("SELECT {s}.apply_group($1, $2, $3, $4, $5, $6)")
    }

    /// Waits for the transaction that holds the row, and has all earlier ones refused.
    pub(crate) fn last(&self) -> String {
        self.of("UPDATE {s}.head SET session = session + 1 RETURNING last_group, session")
    }

    pub(crate) fn head(&self) -> String {
        self.of("SELECT format, last_group, fence FROM {s}.head")
    }

    pub(crate) fn all(&self) -> String {
        self.of("DECLARE all_records NO SCROLL CURSOR FOR \
             SELECT key, value, revision FROM {s}.records ORDER BY key")
    }

    pub(crate) fn restore(&self) -> String {
        self.of("INSERT INTO {s}.records (key, value, revision) \
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])")
    }

    pub(crate) fn is_used(&self) -> String {
        self.of("SELECT last_group > 0 OR EXISTS (SELECT FROM {s}.records) \
             FROM {s}.head FOR UPDATE")
    }

    pub(crate) fn restored(&self) -> String {
        self.of("UPDATE {s}.head SET last_group = $1, fence = $2, session = session + 1")
    }
}

/// Makes the schema and its tables, or brings them to this program's format.
pub(crate) async fn migrate(client: &mut Client, schema: &str) -> Result<(), Fault> {
    let text = Text::new(schema);
    let transaction = client.transaction().await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('zonehead migration ' || $1, 0))";
    transaction.execute(lock, &[&schema]).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
         EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'head')";
    let row = transaction.query_one(exists, &[&schema]).await?;
    if !row.get::<_, bool>(0) {
        // Asked for only if it is missing: it takes a right on the whole database.
        let create = text.of("CREATE SCHEMA {s}");
        transaction.batch_execute(&create).await?;
    }
    let found = match row.get::<_, bool>(1) {
        true => format(transaction.query_opt(&text.head(), &[]).await?)?,
        false => 0,
    };
    if found > FORMAT {
        return Err(Fault::Newer(found));
    }
    let known = usize::try_from(found).map_err(|_| Fault::Layout("its format is negative"))?;
    for migration in &MIGRATIONS[known..] {
        transaction.batch_execute(&text.of(migration)).await?;
    }
    if found < FORMAT {
        let done = text.of("UPDATE {s}.head SET format = $1");
        transaction.execute(&done, &[&FORMAT]).await?;
        tracing::info!(
            schema,
            from = found,
            to = FORMAT,
            "the store's schema was migrated"
        );
    }
    Ok(transaction.commit().await?)
}

fn format(head: Option<tokio_postgres::Row>) -> Result<i32, Fault> {
    Ok(head.ok_or(Fault::Layout("its head has no row"))?.get(0))
}

/// Refuses tables of another format, and such as a crash of the server empties.
pub(crate) async fn check(client: &Client, schema: &str) -> Result<(), Fault> {
    let found = format(client.query_opt(&Text::new(schema).head(), &[]).await?)?;
    if found > FORMAT {
        return Err(Fault::Newer(found));
    }
    if found < FORMAT {
        return Err(Fault::Layout("its format is older than at the start"));
    }
    let permanent = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname IN ('head', 'records') \
         AND c.relkind = 'r' AND c.relpersistence = 'p'";
    let row = client.query_one(permanent, &[&schema]).await?;
    if row.get::<_, i64>(0) != 2 {
        return Err(Fault::Unsafe("a table of the store is UNLOGGED".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_a_schemas_name_cannot_leave_its_quotes() {
        for name in ["zonehead", "a", "_z9"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in [
            "", "a\"b", "A", "9a", "a.b", "a b", "pg_x", "a;", "é", &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
