//! One head at a time: a lock of the server's that lives as long as a connection.
//!
//! Without it a second head would read on behind the first one's back, with caches that nobody
//! tells of changes. Who writes is not decided here but by number, fence and session.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::connect;
use crate::error::Fault;
use crate::options::PostgresOptions;

/// For a head that is just ending, or for a connection that the server has not missed yet.
const WAIT: &str = "SET lock_timeout = '5s'";
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('zonehead store ' || $1, 0))";

pub(crate) struct Guard {
    options: Arc<PostgresOptions>,
    held: Mutex<Client>,
}

impl Guard {
    /// Takes the lock, within five seconds.
    pub(crate) async fn take(options: Arc<PostgresOptions>) -> Result<Self, Fault> {
        let held = Mutex::new(lock(&options).await?);
        Ok(Self { options, held })
    }

    /// Takes the lock again if its connection is gone.
    pub(crate) async fn check(&self) -> Result<(), Fault> {
        let mut held = self.held.lock().await;
        if held.is_closed() {
            *held = lock(&self.options).await?;
            tracing::info!("the store is reached again");
        }
        Ok(())
    }
}

async fn lock(options: &PostgresOptions) -> Result<Client, Fault> {
    let client = connect::connect(options).await?;
    client.batch_execute(WAIT).await?;
    match client
        .execute(LOCK, &[&options.schema])
        .await
        .map_err(Fault::from)
    {
        Ok(_) => Ok(client),
        Err(Fault::Server(said)) if said.is_lock_timeout() => Err(Fault::Held),
        Err(fault) => Err(fault),
    }
}
