//! One history: steps, faults, restarts, and what the model says to each.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use zone_ports::Clock;
use zone_testkit::{Fault, MemStore, SeededRandom};

use crate::act::{Answer, Aside, act, is_unheard};
use crate::check::{judge, judge_ceremonies, leases, nothing_is_left, nothing_waits, strays};
use crate::draw::{self, Theme};
use crate::head::{ENGINES, Head, METHODS, Origin, Shares};
use crate::model::{Model, Verdict};
use crate::step::{self, Step};

/// Steps of a history: so many, and fewer than this more.
const STEPS: u64 = 25;
/// Longer than a lease waits for its engine, and than a revocation by path is kept, in seconds.
const LONGEST_WAIT: u64 = 4600;
/// Retired shares that are tried again.
const RETIRED: usize = 4;
/// Seconds by which a crash may lower the zone's time.
const FLOOR_LAG: i64 = 60;

/// What a zone that breaks its promises does, to show that a history notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A restart finds the store as it was some steps before.
    Forgets,
    /// Power that goes in a commit leaves half of it.
    Tears,
}

/// How often what happened, by step and outcome.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// As in `Create: heard`.
    pub met: BTreeMap<String, u64>,
}

impl Report {
    fn count(&mut self, step: &Step, outcome: &str) {
        let name = format!("{}: {outcome}", step.name());
        *self.met.entry(name).or_default() += 1;
    }

    /// Adds what another history met.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.met {
            *self.met.entry(name.clone()).or_default() += count;
        }
    }
}

/// A history that the zone did not stand.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What is wrong.
    pub error: anyhow::Error,
    /// What happened until then.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {:#}", self.seed, self.error)?;
        write!(f, "again: cargo xtask sim --seed {}", self.seed)
    }
}

/// Runs histories that all begin with the same zone.
pub struct Sim {
    origin: Origin,
}

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl Sim {
    /// Makes the zone.
    pub fn new() -> Self {
        let origin = runtime().block_on(Origin::make());
        Self {
            origin: origin.expect("a zone can be made in memory"),
        }
    }

    /// Runs the history of `seed`.
    pub fn run(&self, seed: u64, sabotage: Option<Sabotage>) -> Result<Report, Box<Failure>> {
        self.run_traced(seed, sabotage).map(|(report, _)| report)
    }

    /// [`Sim::run`], with what happened.
    pub fn run_traced(
        &self,
        seed: u64,
        sabotage: Option<Sabotage>,
    ) -> Result<(Report, Vec<String>), Box<Failure>> {
        let mut trace = Vec::new();
        // What still waits in a killed process ends with its runtime.
        let outcome = runtime().block_on(async {
            let mut history = History::begin(&self.origin, seed, sabotage, &mut trace).await?;
            history.run().await?;
            anyhow::Ok(std::mem::take(&mut history.report))
        });
        match outcome {
            Ok(report) => Ok((report, trace)),
            Err(error) => Err(Box::new(Failure { seed, error, trace })),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let made = tokio::runtime::Builder::new_current_thread().build();
    made.expect("a runtime without drivers")
}

pub(crate) struct History<'a> {
    pub(crate) head: Head,
    pub(crate) model: Model,
    random: SeededRandom,
    theme: Theme,
    /// One share of each set that must not open the zone any more.
    retired: Vec<Vec<u8>>,
    sabotage: Option<Sabotage>,
    /// The store at the step before.
    before: Option<MemStore>,
    number: u64,
    report: Report,
    trace: &'a mut Vec<String>,
}

impl Drop for History<'_> {
    fn drop(&mut self) {
        self.head.store.bury();
    }
}

impl<'a> History<'a> {
    async fn begin(
        origin: &Origin,
        seed: u64,
        sabotage: Option<Sabotage>,
        trace: &'a mut Vec<String>,
    ) -> Result<Self> {
        let head = origin.start(seed).await?;
        let random = SeededRandom::new(seed);
        if random.below(4) == 0 {
            // Key terms end by count all the time.
            head.barrier.set_rotation_bound(256 + random.below(300));
        }
        let mount = head.mounted(METHODS[0])?.context("the method")?;
        let engine = head.mounted(ENGINES[0])?.context("the engine")?;
        let now = head.access.now()?.secs();
        let model = Model::new(origin.shares.clone(), mount, engine, now);
        Ok(Self {
            head,
            model,
            random,
            theme: Theme::of(seed),
            retired: Vec::new(),
            sabotage,
            before: None,
            number: 0,
            report: Report::default(),
            trace,
        })
    }

    async fn run(&mut self) -> Result<()> {
        for _ in 0..STEPS + self.random.below(STEPS) {
            let step = draw::next(&self.random, self.theme, &self.model);
            if let Some((nth, fault)) = step::fault(&self.random) {
                let torn = self.sabotage == Some(Sabotage::Tears) && fault == Fault::CrashAfter;
                let fault = if torn { Fault::Torn } else { fault };
                self.head.store.fail_at(nth, fault);
            }
            self.perform(step).await?;
        }
        self.settle().await?;
        judge(&self.head, &mut self.model).await?;
        nothing_is_left(&self.head, &self.model).await?;
        self.perform(Step::Kill).await?;
        nothing_is_left(&self.head, &self.model).await?;
        if self.model.leases.is_empty() && self.model.marks.is_empty() {
            return Ok(());
        }
        if self.head.world.engine.is_away() {
            self.perform(Step::Engine).await?;
        }
        self.perform(Step::Advance(self.behind() + LONGEST_WAIT))
            .await?;
        self.settle().await?;
        judge(&self.head, &mut self.model).await?;
        nothing_is_left(&self.head, &self.model).await?;
        nothing_waits(&self.head, &self.model).await
    }

    /// Does background work until none is left, at a moment when nothing ends.
    async fn settle(&mut self) -> Result<()> {
        while self.ends_now() || !self.perform(Step::Settle).await? || self.ends_now() {
            self.perform(Step::Advance(self.behind() + 1)).await?;
        }
        Ok(())
    }

    /// Seconds by which the clock was set back behind the zone's time.
    fn behind(&self) -> u64 {
        let behind = self.model.now - self.head.world.clock.now().secs();
        u64::try_from(behind).unwrap_or_default()
    }

    /// Whether something ends in this very second: it is removed in the next one.
    fn ends_now(&self) -> bool {
        let Model {
            tokens,
            leases,
            secrets,
            now,
            ..
        } = &self.model;
        tokens.iter().any(|token| token.end == *now)
            || leases.iter().any(|lease| lease.end == *now)
            || secrets.iter().any(|secret| secret.end == *now)
    }

    /// Does one step; whether its answer was heard.
    async fn perform(&mut self, step: Step) -> Result<bool> {
        let step = self.fitting(step);
        self.number += 1;
        self.head.world.random.begin(self.number);
        self.head.door.begin().await;
        let image = self.sabotage.map(|_| self.head.store.crash_image());
        self.trace.push(format!("{:3}  {step:?}", self.number));
        let outcome = match step {
            Step::Advance(_) | Step::SetBack(_) => self.pass_time(&step),
            Step::Reseal => self.reseal().await,
            Step::Kill => self.kill(None).await,
            _ => return self.request(step, image).await,
        };
        outcome?;
        if step == Step::Kill {
            let made = strays(&self.head, &self.model, &step).await?;
            ensure!(made.is_empty(), "a token that nobody asked for");
            let given = leases::strays(&self.head, &self.model).await?;
            ensure!(given.is_empty(), "a lease that nobody asked for");
            judge(&self.head, &mut self.model).await?;
        }
        self.before = image;
        self.told(&step, "done");
        Ok(true)
    }

    fn told(&mut self, step: &Step, outcome: &str) {
        self.report.count(step, outcome);
        if let Some(line) = self.trace.last_mut() {
            line.push_str(" -> ");
            line.push_str(outcome);
        }
    }

    fn pass_time(&mut self, step: &Step) -> Result<()> {
        let clock = &self.head.world.clock;
        match *step {
            Step::Advance(secs) => clock.advance(std::time::Duration::from_secs(secs)),
            Step::SetBack(secs) => {
                clock.set(clock.now().minus(std::time::Duration::from_secs(secs)));
            }
            _ => {}
        }
        let now = self.head.access.now()?.secs();
        let want = self.model.now.max(self.head.world.clock.now().secs());
        ensure!(now == want, "the zone's time goes back while it runs");
        self.model.now = now;
        self.model.high = self.model.high.max(now);
        Ok(())
    }

    async fn reseal(&mut self) -> Result<()> {
        self.head.system.close().await;
        ensure!(self.head.access.now().is_err(), "B2: access is open");
        self.drop_rekey();
        self.model.drop_ceremonies();
        self.unseal().await
    }

    /// Opens the zone with those shares that count, and with no others.
    async fn unseal(&mut self) -> Result<()> {
        for share in &self.retired {
            ensure!(!self.head.knows(share).await?, "retired shares count");
        }
        let first = usize::try_from(self.number).unwrap_or_default();
        self.head.open(&self.model.shares, first).await
    }

    /// These shares never count again, or never did.
    pub(crate) fn retire(&mut self, shares: &Shares) {
        self.retired.insert(0, shares[0].clone());
        self.retired.truncate(RETIRED);
    }

    /// The process is killed, perhaps while the shares were turned over to `offered`; another one
    /// finds what was durable.
    async fn kill(&mut self, offered: Option<Shares>) -> Result<()> {
        let forgets = self.sabotage == Some(Sabotage::Forgets);
        let store = match self.before.take().filter(|_| forgets) {
            Some(older) => older,
            None => self.head.store.crash_image(),
        };
        self.head = self.head.restart(store).await?;
        match offered {
            Some(offered) => {
                let old = self.head.knows(&self.model.shares[0]).await?;
                let new = self.head.knows(&offered[0]).await?;
                ensure!(old != new, "old shares count: {old}, new ones: {new}");
                self.model.rekey = None;
                if new {
                    self.take_over(offered);
                } else {
                    self.retire(&offered);
                }
            }
            None => self.drop_rekey(),
        }
        self.model.drop_ceremonies();
        self.unseal().await?;
        let now = self.head.access.now()?.secs();
        let floor = self.model.swept - FLOOR_LAG;
        ensure!(
            now >= floor,
            "the zone's time has gone back by more than a minute"
        );
        self.model.now = now;
        self.model.high = self.model.high.max(now);
        Ok(())
    }

    /// The new shares are the zone's.
    fn take_over(&mut self, new: Shares) {
        let old = std::mem::replace(&mut self.model.shares, new);
        self.retire(&old);
    }

    async fn request(&mut self, step: Step, image: Option<MemStore>) -> Result<bool> {
        let aside = Aside::default();
        let answer = tokio::select! {
            biased;
            answer = act(&self.head, &self.model, &step, &aside) => Some(answer),
            () = self.head.store.died() => None,
        };
        let heard = aside.heard.get();
        let offered = aside.offered.into_inner();
        let (outcome, known) = match answer {
            Some(Ok(answer)) => (self.heard(&step, answer, offered).await?, true),
            Some(Err(error)) if is_unheard(&error) => {
                let before = self.model.clone();
                if step.is_ceremony() {
                    self.kill(offered).await?;
                }
                (self.unheard(before, &step, heard, "failed").await?, false)
            }
            Some(Err(error)) => return Err(error),
            None => {
                let before = self.model.clone();
                self.kill(offered).await?;
                (self.unheard(before, &step, heard, "crash").await?, false)
            }
        };
        self.before = image;
        self.told(&step, &outcome);
        Ok(known)
    }

    /// What the model cannot follow becomes a plain request.
    fn fitting(&self, step: Step) -> Step {
        match step {
            // Each request counts as a use, and the last one ends the cubbyhole with the token.
            Step::Keep(token, _) | Step::Forget(token, _) if self.model.tokens[token].uses > 0 => {
                Step::Use(token)
            }
            // Whether it has children to release depends on what a sweep did before a crash.
            Step::RevokeOrphan(token) if self.model.verdict(token) == Verdict::Either => {
                Step::Revoke(token)
            }
            other => other,
        }
    }

    /// Judges an answer, and follows it.
    async fn heard(
        &mut self,
        step: &Step,
        answer: Answer,
        offered: Option<Shares>,
    ) -> Result<String> {
        let outcome = match (&answer, step) {
            (Answer::Refused, _) => "refused",
            _ => "heard",
        };
        self.follow(step, answer)?;
        if let Some(offered) = offered {
            self.take_over(offered);
        }
        if step.is_ceremony() {
            judge_ceremonies(&self.head, &self.model).await?;
        }
        Ok(outcome.to_owned())
    }
}
