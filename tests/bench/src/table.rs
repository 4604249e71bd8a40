//! The table that is printed.

use crate::load::Outcome;

/// Prints the head of the table.
pub(crate) fn head() {
    println!(
        "{:<28} {:>7} {:>10} {:>9} {:>9} {:>9}  ratio",
        "case", "clients", "per second", "p50 ms", "p99 ms", "CPU ms"
    );
}

/// Prints one row; `ratio` says to what.
pub(crate) fn row(case: &str, clients: usize, outcome: &Outcome, spread: f64, ratio: &str) {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{case:<28} {clients:>7} {:>10.0} {:>9.2} {:>9.2} {:>9.3}  {ratio} (±{:.0} %)",
        outcome.rate,
        ms(outcome.p50),
        ms(outcome.p99),
        outcome.cpu_ms,
        spread * 100.0
    );
}

/// Prints a line that is no rate.
pub(crate) fn note(text: &str, value: f64, unit: &str) {
    println!("{text:<46} {value:>10.1} {unit}");
}

/// The median run by rate, and the half spread of all rates around it.
pub(crate) fn median(mut runs: Vec<Outcome>) -> (Outcome, f64) {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let middle = runs[runs.len() / 2];
    let spread = (runs[runs.len() - 1].rate - runs[0].rate) / 2.0 / middle.rate;
    (middle, spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_run_that_was_made() {
        let of = |rate| Outcome {
            rate,
            ..Outcome::default()
        };
        let (middle, spread) = median(vec![of(30.0), of(10.0), of(20.0)]);
        assert!((middle.rate - 20.0).abs() < 1e-9);
        assert!((spread - 0.5).abs() < 1e-9);
    }
}
