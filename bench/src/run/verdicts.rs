//! What was aimed at, and whether it was met.

use std::fmt::Write as _;

/// All targets of a run.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Vec<Verdict>);

#[derive(Debug)]
struct Verdict {
    what: String,
    value: f64,
    relation: &'static str,
    target: f64,
    met: bool,
}

impl Verdicts {
    pub(crate) fn at_least(&mut self, what: impl Into<String>, value: f64, target: f64) {
        self.push(what.into(), value, "at least", target, value >= target);
    }

    pub(crate) fn at_most(&mut self, what: impl Into<String>, value: f64, target: f64) {
        self.push(what.into(), value, "at most", target, value <= target);
    }

    fn push(&mut self, what: String, value: f64, relation: &'static str, target: f64, met: bool) {
        self.0.push(Verdict { what, value, relation, target, met });
    }

    /// Markdown: a count, what was missed, then everything.
    pub(crate) fn table(&self) -> String {
        let missed = self.0.iter().filter(|verdict| !verdict.met).count();
        let mut text = format!(
            "\n## Targets\n{} met, {missed} missed\n\n| target | measured | wanted | |\n|---|---|---|---|\n",
            self.0.len() - missed
        );
        for met in [false, true] {
            for verdict in self.0.iter().filter(|verdict| verdict.met == met) {
                let Verdict { what, value, relation, target, .. } = verdict;
                let word = if met { "met" } else { "**MISSED**" };
                // Writing to a string does not fail.
                let _written = writeln!(text, "| {what} | {value:.2} | {relation} {target} | {word} |");
            }
        }
        text
    }
}

#[test]
fn what_was_not_measured_is_not_met() {
    let mut verdicts = Verdicts::default();
    verdicts.at_most("p50", f64::NAN, 5.0);
    verdicts.at_least("rate", 0.8, 0.7);
    let table = verdicts.table();
    assert!(table.contains("1 met, 1 missed"), "{table}");
    assert!(table.contains("| p50 | NaN | at most 5 | **MISSED** |"), "{table}");
}
