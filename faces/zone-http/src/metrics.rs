//! What the head tells about itself, in OpenMetrics text.
//!
//! Labels come from small fixed sets. No path, name, policy or token ever becomes a label or a
//! metric name, so that metrics can neither leak names nor explode (attack 10).

use std::fmt::Write;

use crate::app::StatusCounts;

/// The counters of one head.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: StatusCounts,
}

impl Metrics {
    /// Counts one answer.
    pub fn count(&self, status: u16) {
        self.answers.add(status);
    }

    /// The text that a scraper reads.
    pub fn text(&self, sealed: bool) -> String {
        let mut out = String::new();
        out.push_str("# TYPE zonehead_http_responses counter\n");
        out.push_str("# HELP zonehead_http_responses Answers by class of HTTP status.\n");
        for class in 1..=5 {
            let count = self.answers.of(class);
            let _ = writeln!(
                out,
                "zonehead_http_responses_total{{class=\"{class}xx\"}} {count}"
            );
        }
        out.push_str("# TYPE zonehead_sealed gauge\n");
        out.push_str("# HELP zonehead_sealed 1 while the zone is sealed.\n");
        let _ = writeln!(out, "zonehead_sealed {}", u8::from(sealed));
        out.push_str("# EOF\n");
        out
    }
}
