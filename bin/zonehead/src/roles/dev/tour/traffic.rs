//! Requests without a pause, each one counted, while a certificate is exchanged.

use std::time::Duration;

use anyhow::{Context, bail};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::orders::Orders;

/// Callers at the same time.
pub(super) const CALLERS: usize = 4;
/// Requests on one connection, so that some connections outlive the exchange.
const PER_CONNECTION: usize = 5;
/// How long to wait for the traffic to come to a state.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happened so far.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Answered as expected; under which certificate of the ledger.
    answered: Vec<(CertificateDer<'static>, u64)>,
    /// Not answered, or not as expected.
    pub(super) failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    /// Requests that were answered under this certificate.
    pub(super) fn under(&self, leaf: &CertificateDer<'_>) -> u64 {
        self.answered
            .iter()
            .filter(|(seen, _)| seen == leaf)
            .map(|(_, count)| count)
            .sum()
    }

    fn add(&mut self, leaf: &CertificateDer<'static>) {
        match self.answered.iter_mut().find(|(seen, _)| seen == leaf) {
            Some((_, count)) => *count += 1,
            None => self.answered.push((leaf.clone(), 1)),
        }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }

    /// An error that tells the first failure, if there was one.
    pub(super) fn no_failure(&self) -> anyhow::Result<()> {
        match &self.first_failure {
            None => Ok(()),
            Some(why) => bail!("{} requests failed; the first one: {why}", self.failed),
        }
    }
}

/// Callers that go on until [`Traffic::stop`].
pub(super) struct Traffic {
    tally: watch::Sender<Tally>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

impl Traffic {
    /// Starts [`CALLERS`] callers that expect `answer`.
    pub(super) fn start(orders: &Orders, answer: &str) -> Self {
        let (tally, stop) = (
            watch::Sender::new(Tally::default()),
            watch::Sender::new(false),
        );
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let caller = Caller {
                orders: orders.clone(),
                answer: answer.to_owned(),
                tally: tally.clone(),
                stop: stop.subscribe(),
            };
            callers.spawn(caller.run());
        }
        Self {
            tally,
            stop,
            callers,
        }
    }

    /// Waits for `count` answers under this certificate; an error as soon as a request fails.
    pub(super) async fn reach(&self, leaf: &CertificateDer<'_>, count: u64) -> anyhow::Result<()> {
        let mut tally = self.tally.subscribe();
        let reached = tally.wait_for(|tally| tally.failed > 0 || tally.under(leaf) >= count);
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        let tally = reached.context("the requests came to a halt")??;
        tally.no_failure()
    }

    /// Lets each caller end its request, and gives the count.
    pub(super) async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.callers.join_next().await.is_some() {}
        self.tally.borrow().clone()
    }
}

struct Caller {
    orders: Orders,
    answer: String,
    tally: watch::Sender<Tally>,
    stop: watch::Receiver<bool>,
}

impl Caller {
    async fn run(self) {
        while !*self.stop.borrow() {
            if let Err(error) = self.connection().await {
                self.tally
                    .send_modify(|tally| tally.fail(format!("{error:#}")));
            }
        }
    }

    async fn connection(&self) -> anyhow::Result<()> {
        let mut connection = self.orders.connect().await?;
        for _ in 0..PER_CONNECTION {
            if *self.stop.borrow() {
                break;
            }
            let answer = connection.ask("balance").await?;
            if answer != self.answer {
                bail!("the ledger answered {answer:?}");
            }
            self.tally.send_modify(|tally| tally.add(&connection.leaf));
        }
        Ok(())
    }
}
