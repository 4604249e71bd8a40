//! The loop: makes inputs, runs the target, catches what it breaks.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutate::Mutator;
use crate::targets::Target;

/// How long to go on.
#[derive(Clone, Copy)]
pub enum Limit<'a> {
    /// As many inputs.
    Inputs(u64),
    /// Until this says so. Asked before each input.
    Until(&'a (dyn Fn() -> bool + Sync)),
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How many inputs passed.
    pub inputs: u64,
}

/// An input that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The target.
    pub target: &'static str,
    /// The run's seed.
    pub seed: u64,
    /// The number of the input, to be made again from target, seed and number.
    pub number: u64,
    /// The input, cut down as far as it still breaks the promise.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// Feeds inputs `first..` to `target` until the limit or the first panic. `progress` always
/// holds the number of the input in work, so that a watcher can name one that hangs.
///
/// # Errors
///
/// The first input that makes the target panic.
pub fn drive(
    target: &'static Target,
    seed: u64,
    first: u64,
    limit: Limit<'_>,
    progress: &AtomicU64,
) -> Result<Report, Box<Crash>> {
    let seeds = (target.seeds)();
    let mutator = Mutator::new(&seeds, target.words, seed);
    let mut number = first;
    loop {
        let done = match limit {
            Limit::Inputs(count) => number - first >= count,
            Limit::Until(over) => over(),
        };
        if done {
            return Ok(Report {
                inputs: number - first,
            });
        }
        progress.store(number, Ordering::Relaxed);
        let input = mutator.input(number);
        if let Some(message) = breaks(target, &input) {
            let input = shrink(target, input);
            return Err(Box::new(Crash {
                target: target.name,
                seed,
                number,
                input,
                message,
            }));
        }
        number += 1;
    }
}

thread_local! {
    /// The last panic of this thread, with its place in the code.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics for the report in place of printing each: shrinking makes hundreds.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| LAST.set(Some(panic.to_string()))));
}

fn breaks(target: &Target, input: &[u8]) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).err()?;
    if let Some(kept) = LAST.take() {
        return Some(kept);
    }
    let text = panic.downcast_ref::<String>().map(String::as_str);
    Some(
        text.or(panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic")
            .to_owned(),
    )
}

/// Cuts pieces out as long as the rest still panics.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut less = input.clone();
            less.drain(at..(at + piece).min(input.len()));
            if breaks(target, &less).is_some() {
                input = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    const FRAGILE: Target = Target {
        name: "fragile",
        run: |data| {
            assert!(
                !data.windows(2).any(|pair| pair == b"%/"),
                "a percent and a slash"
            )
        },
        seeds: || vec![b"some/path".to_vec()],
        words: &["%"],
    };

    #[test]
    fn finds_shrinks_and_names_what_breaks() {
        static TARGET: Target = FRAGILE;
        let found = drive(&TARGET, 7, 0, Limit::Inputs(20_000), &AtomicU64::new(0));
        let crash = found.unwrap_err();
        assert_eq!(crash.input, b"%/");
        assert!(crash.message.contains("a percent and a slash"));
        let again = drive(
            &TARGET,
            7,
            crash.number,
            Limit::Inputs(1),
            &AtomicU64::new(0),
        );
        assert_eq!(again, Err(crash));
    }

    #[test]
    fn each_target_holds_for_its_seeds_and_some_thousand_inputs() {
        for target in TARGETS {
            assert!(!(target.seeds)().is_empty(), "{} has seeds", target.name);
            let progress = AtomicU64::new(0);
            let report = drive(target, 1, 0, Limit::Inputs(3000), &progress);
            assert_eq!(report, Ok(Report { inputs: 3000 }), "{}", target.name);
            assert_eq!(progress.into_inner(), 2999);
        }
    }
}
