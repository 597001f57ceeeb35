//! Tables: figures, ratios, and the targets beside them.

use super::click;
use super::gate;
use super::held;
use super::proxies::{LEVELS, Measured, Path, Route, Samples};
use crate::load::Sample;

/// The level at which throughput and CPU time are judged.
const JUDGED: u64 = 16;

/// Figures of one route, then what they mean.
pub(crate) fn proxies(route: Route, measured: &Measured) {
    println!("\n{}: medians of {} rounds", name(route), rounds(measured));
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>6} {:>7} {:>7}",
        "calls/s in flight:", 1, 16, 64, 256, "p50 µs", "p99 µs", "CPU µs@16", "ready", "MB idle", "MB peak"
    );
    for (path, samples) in measured {
        let rate = |level| median(samples.figures(level, |sample| sample.calls_per_s));
        println!(
            "{:<22} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0} {:>8.0} {:>9.1} {:>6.1} {:>7.1} {:>7.1}",
            path.name(),
            rate(1),
            rate(16),
            rate(64),
            rate(256),
            median(samples.figures(1, |sample| sample.p50_us)),
            median(samples.figures(1, |sample| sample.p99_us)),
            median(samples.figures(JUDGED, |sample| sample.cpu_us_per_call)),
            median(samples.ready_ms.clone()),
            samples.idle_mb(),
            samples.peak_mb(),
        );
    }
    let errors: u64 = measured.values().flat_map(|s| s.rounds.values().flatten()).map(|s| s.errors).sum();
    println!("errors: {errors}");
    println!("\n{:<22} throughput ÷ direct at 1 / 16 / 64 / 256, p50 ÷ direct, p99 ÷ direct", "");
    for path in measured.keys().filter(|path| **path != Path::Direct) {
        let rate: Vec<String> = LEVELS
            .iter()
            .map(|level| format!("{:.2}", ratio(measured, *path, Path::Direct, *level, |s| s.calls_per_s)))
            .collect();
        println!(
            "{:<22} {}, {:.1}, {:.1}",
            path.name(),
            rate.join(" / "),
            ratio(measured, *path, Path::Direct, 1, |s| s.p50_us),
            ratio(measured, *path, Path::Direct, 1, |s| s.p99_us),
        );
    }
    println!();
    for (ours, relay) in [(Path::Ours, Path::Relay), (Path::OursAsked, Path::RelayAsked)] {
        if measured.contains_key(&ours) {
            against(measured, ours, relay);
        }
    }
}

/// Ours against the floor under it.
fn against(measured: &Measured, ours: Path, relay: Path) {
    println!("{} against {}", ours.name(), relay.name());
    at_least("calls/s at 16 in flight", ratio(measured, ours, relay, JUDGED, |s| s.calls_per_s), 0.7);
    at_most("CPU per call at 16", ratio(measured, ours, relay, JUDGED, |s| s.cpu_us_per_call), 1.6);
    at_most("added p50, one at a time", added_p50(measured, ours, relay), 1.4);
    if let Some(samples) = measured.get(&ours) {
        at_most("MB idle", samples.idle_mb(), 12.0);
        at_most("ms to ready", median(samples.ready_ms.clone()), 50.0);
    }
}

fn added_p50(measured: &Measured, ours: Path, relay: Path) -> f64 {
    let p50 = |path| figures(measured, path, 1, |sample| sample.p50_us);
    let added = p50(ours)
        .into_iter()
        .zip(p50(relay))
        .zip(p50(Path::Direct))
        .map(|((ours, relay), direct)| (ours - direct) / (relay - direct).max(0.1))
        .collect();
    median(added)
}

/// Decisions per second.
pub(crate) fn gate(measured: &gate::Measured) {
    println!(
        "\nGate: a decision that a rule allows, against a bare axum + SQLite insert (group commit, synchronous=FULL)"
    );
    println!("{:<10} {:>12} {:>12} {:>8} {:>9}", "in flight", "bare/s", "holdpoint/s", "ratio", "p99 ms");
    for (level, rounds) in measured {
        let bare = median(rounds.iter().map(|(bare, _)| bare.calls_per_s).collect());
        let ours: Vec<&Sample> = rounds.iter().filter_map(|(_, ours)| ours.as_ref()).collect();
        let rate = median(ours.iter().map(|sample| sample.calls_per_s).collect());
        let p99 = median(ours.iter().map(|sample| sample.p99_us / 1e3).collect());
        let ratio = gate_ratio(rounds);
        println!("{level:<10} {bare:>12.0} {rate:>12.0} {ratio:>8.2} {p99:>9.2}");
    }
    if let Some(rounds) = measured.get(&64)
        && rounds.iter().any(|(_, ours)| ours.is_some())
    {
        at_least("decisions/s at 64 in flight", gate_ratio(rounds), 0.5);
    }
}

fn gate_ratio(rounds: &[(Sample, Option<Sample>)]) -> f64 {
    median(
        rounds
            .iter()
            .filter_map(|(bare, ours)| Some(ours.as_ref()?.calls_per_s / bare.calls_per_s))
            .collect(),
    )
}

/// From the approval to the run.
pub(crate) fn click(measured: &click::Measured) {
    println!("\nFrom approval to run, {} calls", measured.click_to_run.len());
    let line = |title: &str, sorted: &[f64]| {
        println!(
            "{title:<44} p50 {:>7.2} ms  p99 {:>7.2} ms",
            percentile(sorted, 50),
            percentile(sorted, 99)
        );
    };
    line("click to run", &measured.click_to_run);
    at_most("p50 ms", percentile(&measured.click_to_run, 50), 5.0);
    at_most("p99 ms", percentile(&measured.click_to_run, 99), 25.0);
}

/// How much others used of the machine meanwhile.
#[expect(clippy::cast_precision_loss, reason = "ticks of minutes")]
pub(crate) fn machine(others_ticks: u64, all_ticks: u64) {
    let percent = 100.0 * others_ticks as f64 / all_ticks.max(1) as f64;
    println!("\nprocessor time of others meanwhile: {percent:.0} % of the machine");
}

fn at_least(what: &str, value: f64, target: f64) {
    verdict(what, value, "at least", target, value >= target);
}

/// What holding many costs.
pub(crate) fn held(measured: &held::Measured, stdio: &held::OverStdio) {
    println!("\n{} calls held at once over HTTP, embedded Gate", held::HELD);
    at_most("KiB per held call", measured.kib_per_call, 32.0);
    at_most("% of a core while idle", measured.idle_percent, 2.0);
    at_most("approval to run p50, ms", percentile(&measured.approval_to_run, 50), 10.0);
    at_most("approval to run p99, ms", percentile(&measured.approval_to_run, 99), 100.0);
    println!(
        "  the rest approved at once: {:.0} runs/s; {} calls ran, each once",
        measured.rest_per_s, measured.ran
    );
    println!("\n{} calls held at once on one pipe, Gate in another process", held::HELD);
    at_most("KiB per held call", stdio.kib_per_call, 32.0);
    at_most("% of a core while idle", stdio.idle_percent, 2.0);
}

fn at_most(what: &str, value: f64, target: f64) {
    verdict(what, value, "at most", target, value <= target);
}

fn verdict(what: &str, value: f64, relation: &str, target: f64, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:<28} {value:>7.2}   {relation} {target:<5} {verdict}");
}

impl Samples {
    fn figures(&self, level: u64, figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.rounds.get(&level).into_iter().flatten().map(figure).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "memory of one process")]
    fn idle_mb(&self) -> f64 {
        median(self.idle_kib.iter().map(|kib| *kib as f64 / 1024.0).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "memory of one process")]
    fn peak_mb(&self) -> f64 {
        let peak = self.rounds.values().flatten().map(|sample| sample.peak_kib).max();
        peak.unwrap_or(0) as f64 / 1024.0
    }
}

/// Median of the ratios within each round.
fn ratio(measured: &Measured, of: Path, to: Path, level: u64, figure: fn(&Sample) -> f64) -> f64 {
    let of = figures(measured, of, level, figure);
    let to = figures(measured, to, level, figure);
    median(of.into_iter().zip(to).map(|(of, to)| of / to).collect())
}

fn figures(measured: &Measured, path: Path, level: u64, figure: fn(&Sample) -> f64) -> Vec<f64> {
    measured.get(&path).map_or_else(Vec::new, |samples| samples.figures(level, figure))
}

fn rounds(measured: &Measured) -> usize {
    measured.values().flat_map(|samples| samples.rounds.values()).map(Vec::len).max().unwrap_or(0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle), values.get(middle.wrapping_sub(1))) {
        (1, Some(value), _) => *value,
        (0, Some(upper), Some(lower)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

const fn name(route: Route) -> &'static str {
    match route {
        Route::Http => "HTTP → HTTP",
        Route::Stdio => "stdio → stdio",
    }
}

#[test]
fn a_median_is_the_middle() {
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    assert!(median(Vec::new()).is_nan());
}
