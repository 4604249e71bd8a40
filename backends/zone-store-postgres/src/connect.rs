//! Connections: made, checked, pooled.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult, Timeouts};
use tokio_postgres::{Client, NoTls, Statement};

use crate::error::Fault;
use crate::options::{Password, PostgresOptions};
use crate::schema::{self, Text};
use crate::tls::Tls;

/// What one host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The oldest server that the tests run against.
const OLDEST: i32 = 15_00_00;

/// What every session is told. Durability is not left to the server's defaults, and a plan that
/// was made while the table was empty must not sort a million rows later.
const SETTINGS: &str = "SET synchronous_commit = on; SET search_path = pg_catalog; \
    SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; \
    SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off; \
    SET idle_in_transaction_session_timeout = '60s'; SET tcp_keepalives_idle = 30; \
    SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

const IS_SAFE: &str = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
    current_setting('transaction_read_only'), current_setting('fsync'), \
    current_setting('full_page_writes'), current_setting('synchronous_commit')";

/// A connection with its statements.
pub(crate) struct Connection {
    client: Client,
    pub(crate) get: Statement,
    pub(crate) scan: Statement,
    pub(crate) scan_to: Statement,
    pub(crate) apply: Statement,
    pub(crate) last: Statement,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Makes a connection whose session is set and whose server is safe. Reads the files anew.
pub(crate) async fn connect(options: &PostgresOptions) -> Result<Client, Fault> {
    let made = tokio::time::timeout(options.answer_within, Box::pin(dial(options)));
    made.await.map_err(|_| Fault::Silent)?
}

async fn dial(options: &PostgresOptions) -> Result<Client, Fault> {
    let mut server = options.server.clone();
    server
        .connect_timeout(CONNECT)
        .tcp_user_timeout(options.answer_within)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    match &options.password {
        Password::None => {}
        Password::Given(password) => drop(server.password(password.expose())),
        Password::File(path) => {
            let text = tokio::fs::read_to_string(path).await;
            let text = text.map_err(|error| Fault::File(format!("{}: {error}", path.display())))?;
            let text = zone_types::Secret::new(text);
            server.password(text.expose().lines().next().unwrap_or_default());
        }
    }
    let client = match (&options.tls, options.needs_tls()) {
        (Some(files), true) => {
            let (client, connection) = server.connect(Tls::read(files)?).await?;
            drop(tokio::spawn(connection));
            client
        }
        (_, false) => {
            let (client, connection) = server.connect(NoTls).await?;
            drop(tokio::spawn(connection));
            client
        }
        (None, true) => return Err(Fault::Pool("over the network a CA file is needed")),
    };
    let within = options.answer_within.as_millis();
    let settings = format!("{SETTINGS}; SET statement_timeout = {within}");
    client.batch_execute(&settings).await?;
    check(&client).await?;
    Ok(client)
}

/// Refuses a server on which an acknowledged group could be lost.
async fn check(client: &Client) -> Result<(), Fault> {
    let row = client.query_one(IS_SAFE, &[]).await?;
    if row.get::<_, i32>(0) < OLDEST {
        return Err(Fault::Unsafe(
            "its version is older than PostgreSQL 15".into(),
        ));
    }
    if row.get::<_, bool>(1) {
        return Err(Fault::Unsafe("it is a standby".into()));
    }
    for (column, name, wanted) in [
        (2, "transaction_read_only", "off"),
        (3, "fsync", "on"),
        (4, "full_page_writes", "on"),
        (5, "synchronous_commit", "on"),
    ] {
        let found: &str = row.get(column);
        if found != wanted {
            return Err(Fault::Unsafe(format!("{name} is {found}")));
        }
    }
    Ok(())
}

/// Makes connections for the pool.
pub(crate) struct Manager {
    options: Arc<PostgresOptions>,
}

pub(crate) type Pool = managed::Pool<Manager>;

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Fault;

    async fn create(&self) -> Result<Connection, Fault> {
        let client = connect(&self.options).await?;
        schema::check(&client, &self.options.schema).await?;
        let text = Text::new(&self.options.schema);
        Ok(Connection {
            get: client.prepare(&text.get()).await?,
            scan: client.prepare(&text.scan()).await?,
            scan_to: client.prepare(&text.scan_to()).await?,
            apply: client.prepare(&text.apply()).await?,
            last: client.prepare(&text.last()).await?,
            client,
        })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Fault> {
        match connection.is_closed() {
            true => Err(RecycleError::message("closed")),
            false => Ok(()),
        }
    }
}

pub(crate) fn pool(options: Arc<PostgresOptions>) -> Result<Pool, Fault> {
    let within = Some(options.answer_within);
    let size = options.max_connections.max(1);
    Pool::builder(Manager { options })
        .max_size(size)
        .timeouts(Timeouts {
            wait: within,
            create: within,
            recycle: within,
        })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|_| Fault::Pool("the pool cannot be built"))
}

/// A connection on loan. Unless it is [kept](Lease::keep) it is closed: what it was asked may
/// still be under way.
pub(crate) struct Lease(Option<Object<Manager>>);

impl Lease {
    pub(crate) async fn take(pool: &Pool) -> Result<Self, Fault> {
        match Box::pin(pool.get()).await {
            Ok(connection) => Ok(Self(Some(connection))),
            Err(managed::PoolError::Backend(fault)) => Err(fault),
            Err(managed::PoolError::Timeout(managed::TimeoutType::Wait)) => {
                Err(Fault::Pool("all are busy (max_connections)"))
            }
            Err(managed::PoolError::Timeout(_)) => Err(Fault::Silent),
            Err(_) => Err(Fault::Pool("the store is closed")),
        }
    }

    pub(crate) fn connection(&self) -> Result<&Connection, Fault> {
        self.0.as_deref().ok_or(Fault::Pool("it was given back"))
    }

    /// Gives the connection back to the pool.
    pub(crate) fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
