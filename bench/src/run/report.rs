//! Tables of what was measured, in Markdown, and the targets beside them.

use std::fmt::Write as _;

use super::measured::{
    ALONE, CROWD, HUGE, JUDGED, Kind, LARGE, LEVELS, Measured, Path, Route, Samples, median,
};
use super::sessions::Crowded;
use super::verdicts::Verdicts;
use super::{bridge, click, gate, held};
use crate::load::{Sample, Shape};
use crate::process::Memory;

/// Of a failure's text.
const FAILURE_CHARS: usize = 200;

/// Figures of one route, and what they are in relation to the relay and to other proxies.
pub(crate) fn route(route: Route, measured: &Measured, verdicts: &mut Verdicts) -> String {
    let mut text = format!("\n## {}\n", route.title());
    figures(&mut text, measured);
    ratios(&mut text, measured);
    peers(&mut text, route, measured, verdicts);
    for (path, samples) in &measured.0 {
        if matches!(path, Path::Ours | Path::OursAsked) {
            judge(route, path, samples, measured, verdicts);
        }
    }
    text
}

fn figures(text: &mut String, measured: &Measured) {
    row(
        text,
        &[
            "path",
            "calls/s at 1",
            "16",
            "64",
            "256",
            "CPU µs per call at 16",
            "p50 added, µs",
            "p99 at 256, ms",
            "MB idle (own)",
            "MB after 256 (own)",
            "ms to ready",
            "wrong or lost",
        ]
        .map(str::to_owned),
    );
    rule(text, 12);
    for (path, samples) in &measured.0 {
        let mut cells = vec![path.name().to_owned()];
        cells
            .extend(LEVELS.map(|level| number(samples.figure(Shape::ordinary(level), |s| s.calls_per_s), 0)));
        cells.push(number(samples.figure(JUDGED, |s| s.cpu_us_per_call), 1));
        cells.push(number(measured.added_us(path), 0));
        cells.push(number(samples.figure(CROWD, |s| s.p99_us / 1e3), 1));
        cells.push(memory(samples.idle()));
        cells.push(memory(samples.loaded()));
        cells.push(number(samples.figure(ALONE, |s| s.ready_us / 1e3), 0));
        cells.push(samples.errors().to_string());
        row(text, &cells);
    }
}

fn ratios(text: &mut String, measured: &Measured) {
    text.push_str("\nIn relation to the relay of the same round:\n\n");
    row(
        text,
        &[
            "path",
            "÷",
            "calls/s at 16",
            "CPU at 16",
            "p50 added",
            "p99 at 256",
            "64 KiB: calls/s",
            "CPU",
            "1 MiB: calls/s",
            "CPU",
        ]
        .map(str::to_owned),
    );
    rule(text, 10);
    for path in measured.0.keys() {
        let Some(floor) = path.floor() else { continue };
        let rate = |shape| number(measured.ratio(path, &floor, shape, |s| s.calls_per_s), 2);
        let cpu = |shape| number(measured.ratio(path, &floor, shape, |s| s.cpu_us_per_call), 2);
        let cells = [
            path.name().to_owned(),
            floor.name().to_owned(),
            rate(JUDGED),
            cpu(JUDGED),
            number(measured.added_ratio(path, &floor), 1),
            number(measured.ratio(path, &floor, CROWD, |s| s.p99_us), 1),
            rate(LARGE),
            cpu(LARGE),
            rate(HUGE),
            cpu(HUGE),
        ];
        row(text, &cells);
    }
}

/// Ours against each other proxy of the same kind.
fn peers(text: &mut String, route: Route, measured: &Measured, verdicts: &mut Verdicts) {
    let peers: Vec<(&Path, &str, Kind, &Samples)> = measured
        .0
        .iter()
        .filter_map(|(path, samples)| match path {
            Path::Peer { name, kind } => Some((path, name.as_str(), *kind, samples)),
            Path::Direct | Path::Relay | Path::Ours | Path::RelayAsked | Path::OursAsked => None,
        })
        .collect();
    if peers.is_empty() {
        return;
    }
    text.push_str("\nHoldpoint in relation to other proxies of the same round:\n\n");
    row(
        text,
        &[
            "proxy",
            "÷",
            "calls/s at 16",
            "at 256",
            "CPU at 16",
            "p50, one at a time",
            "64 KiB: calls/s",
            "failed",
        ]
        .map(str::to_owned),
    );
    rule(text, 8);
    for (path, name, kind, samples) in peers {
        let ours = kind.ours();
        let rate = |shape| measured.ratio(&ours, path, shape, |s| s.calls_per_s);
        let cpu = measured.ratio(&ours, path, JUDGED, |s| s.cpu_us_per_call);
        let latency = measured.ratio(&ours, path, ALONE, |s| s.p50_us);
        let failed = failures(samples);
        let cells = [
            name.to_owned(),
            ours.name().to_owned(),
            number(rate(JUDGED), 1),
            number(rate(CROWD), 1),
            number(cpu, 3),
            number(latency, 2),
            number(rate(LARGE), 1),
            failed,
        ];
        row(text, &cells);
        // A peer that does not work is no rival: it is reported above.
        if rate(JUDGED).is_finite() && latency.is_finite() {
            let title = format!("{}: {} ÷ {name}", route.title(), ours.name());
            verdicts.at_least(format!("{title}, calls/s at 16"), rate(JUDGED), 1.0);
            verdicts.at_most(format!("{title}, CPU at 16"), cpu, 1.0);
            verdicts.at_most(format!("{title}, p50 one at a time"), latency, 1.0);
        }
    }
}

/// In words; empty where nothing went wrong.
fn failures(samples: &Samples) -> String {
    let mut parts = Vec::new();
    if samples.errors() > 0 {
        parts.push(format!("{} calls wrong or lost", samples.errors()));
    }
    if samples.stripped() > 0 {
        parts.push(format!("{} answers without their structured content", samples.stripped()));
    }
    if let Some(first) = samples.failures.first() {
        let first: String = first.chars().filter(|c| *c != '|' && *c != '\n').take(FAILURE_CHARS).collect();
        parts.push(format!("{} samples failed, the first: {first}", samples.failures.len()));
    }
    parts.join("; ")
}

/// Ours against the floor under it.
fn judge(route: Route, path: &Path, samples: &Samples, measured: &Measured, verdicts: &mut Verdicts) {
    let Some(floor) = path.floor() else { return };
    let title = format!("{}: {}", route.title(), path.name());
    let ratio = |shape, figure| measured.ratio(path, &floor, shape, figure);
    verdicts.at_least(format!("{title}, calls/s at 16 ÷ relay"), ratio(JUDGED, |s| s.calls_per_s), 0.7);
    verdicts.at_most(format!("{title}, CPU at 16 ÷ relay"), ratio(JUDGED, |s| s.cpu_us_per_call), 1.6);
    verdicts.at_most(format!("{title}, p99 at 256 ÷ relay"), ratio(CROWD, |s| s.p99_us), 1.5);
    verdicts.at_most(format!("{title}, added p50 ÷ relay"), measured.added_ratio(path, &floor), 1.4);
    verdicts.at_most(format!("{title}, MB idle"), samples.idle().map_or(f64::NAN, megabytes), 12.0);
    verdicts.at_most(
        format!("{title}, MB after 256 in flight"),
        samples.loaded().map_or(f64::NAN, megabytes),
        30.0,
    );
    verdicts.at_most(format!("{title}, ms to ready"), samples.figure(ALONE, |s| s.ready_us / 1e3), 50.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    verdicts.at_most(
        format!("{title}, calls wrong or lost"),
        (samples.errors() + samples.stripped()) as f64,
        0.0,
    );
}

/// Many sessions open at once.
pub(crate) fn sessions(all: &[Crowded]) -> String {
    let mut text = "\n## Sessions open at once\n16 calls in flight, each in another session.\n\n".to_owned();
    row(
        &mut text,
        &[
            "route",
            "sessions",
            "path",
            "calls/s",
            "p99, ms",
            "CPU µs per call",
            "KiB per session",
            "wrong or lost",
        ]
        .map(str::to_owned),
    );
    rule(&mut text, 8);
    for crowded in all {
        let sample = &crowded.sample;
        let grown = sample.loaded.rss_kib.saturating_sub(sample.idle.rss_kib);
        let cells = [
            crowded.route.title().to_owned(),
            crowded.sessions.to_string(),
            crowded.path.name().to_owned(),
            number(sample.calls_per_s, 0),
            number(sample.p99_us / 1e3, 1),
            number(sample.cpu_us_per_call, 1),
            (grown / crowded.sessions.max(1)).to_string(),
            (sample.errors + sample.lost).to_string(),
        ];
        row(&mut text, &cells);
    }
    text
}

/// Decisions per second.
pub(crate) fn gate(measured: &gate::Measured, verdicts: &mut Verdicts) -> String {
    let mut text =
        "\n## Gate\nA decision that a rule allows, against a bare axum + SQLite insert (group commit, \
                    synchronous=FULL).\n\n"
            .to_owned();
    row(&mut text, &["in flight", "bare/s", "holdpoint/s", "ratio", "p99, ms"].map(str::to_owned));
    rule(&mut text, 5);
    for (level, rounds) in measured {
        let bare = median(rounds.iter().map(|(bare, _)| bare.calls_per_s).collect());
        let ours: Vec<&Sample> = rounds.iter().filter_map(|(_, ours)| ours.as_ref()).collect();
        let rate = median(ours.iter().map(|sample| sample.calls_per_s).collect());
        let p99 = median(ours.iter().map(|sample| sample.p99_us / 1e3).collect());
        let ratio = gate_ratio(rounds);
        let cells = [level.to_string(), number(bare, 0), number(rate, 0), number(ratio, 2), number(p99, 2)];
        row(&mut text, &cells);
    }
    if let Some(rounds) = measured.get(&64)
        && rounds.iter().any(|(_, ours)| ours.is_some())
    {
        verdicts.at_least("Gate: decisions/s at 64 in flight ÷ bare", gate_ratio(rounds), 0.5);
    }
    text
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
pub(crate) fn click(measured: &click::Measured, verdicts: &mut Verdicts) -> String {
    let sorted = &measured.click_to_run;
    let (p50, p99) = (percentile(sorted, 50), percentile(sorted, 99));
    verdicts.at_most("from click to run, p50 ms", p50, 5.0);
    verdicts.at_most("from click to run, p99 ms", p99, 25.0);
    format!("\n## From approval to run\n{} calls: p50 {p50:.2} ms, p99 {p99:.2} ms", sorted.len())
}

/// What holding many costs.
pub(crate) fn held(http: &held::Measured, stdio: &held::OverStdio, verdicts: &mut Verdicts) -> String {
    let held = held::HELD;
    verdicts.at_most(format!("{held} held over HTTP: KiB per call"), http.kib_per_call, 32.0);
    verdicts.at_most(format!("{held} held over HTTP: % of a core while idle"), http.idle_percent, 2.0);
    let (p50, p99) = (percentile(&http.approval_to_run, 50), percentile(&http.approval_to_run, 99));
    verdicts.at_most(format!("{held} held over HTTP: approval to run p50, ms"), p50, 10.0);
    verdicts.at_most(format!("{held} held over HTTP: approval to run p99, ms"), p99, 100.0);
    verdicts.at_most(format!("{held} held over stdio: KiB per call"), stdio.kib_per_call, 32.0);
    verdicts.at_most(format!("{held} held over stdio: % of a core while idle"), stdio.idle_percent, 2.0);
    format!(
        "\n## {held} calls held at once\nOver HTTP, Gate in the same process: {:.1} KiB per call, {:.1} % of a core \
         while idle, approval to run p50 {p50:.1} ms, p99 {p99:.1} ms; the rest approved at once: {:.0} runs/s; {} \
         calls ran, each once.\nOver stdio, Gate in another process: {:.1} KiB per call, {:.1} % of a core while idle.",
        http.kib_per_call,
        http.idle_percent,
        http.rest_per_s,
        http.ran,
        stdio.kib_per_call,
        stdio.idle_percent
    )
}

/// What the bridge adds to a verdict.
pub(crate) fn bridge(measured: &bridge::Verdicts, verdicts: &mut Verdicts) -> String {
    let mut text =
        "\n## The bridge\nA verdict that a rule allows, asked of Gate itself and through the bridge.\n\n"
            .to_owned();
    row(
        &mut text,
        &["in flight", "Gate/s", "bridge/s", "p50 ÷", "p99 ÷", "CPU µs per verdict, Gate", "bridge"]
            .map(str::to_owned),
    );
    rule(&mut text, 7);
    for (level, rounds) in measured {
        let figure = |of: fn(&(Sample, Sample)) -> f64| median(rounds.iter().map(of).collect());
        let p50 = figure(|(gate, bridge)| bridge.p50_us / gate.p50_us);
        let cells = [
            level.to_string(),
            number(figure(|(gate, _)| gate.calls_per_s), 0),
            number(figure(|(_, bridge)| bridge.calls_per_s), 0),
            number(p50, 2),
            number(figure(|(gate, bridge)| bridge.p99_us / gate.p99_us), 2),
            number(figure(|(gate, _)| gate.cpu_us_per_call), 0),
            number(figure(|(_, bridge)| bridge.cpu_us_per_call), 0),
        ];
        row(&mut text, &cells);
        // With more in flight Gate writes many decisions at once, and a caller that asks about them one by one is compared with that.
        if *level == 1 {
            verdicts.at_most("bridge: a verdict ÷ Gate's, p50", p50, 2.5);
        }
    }
    text
}

/// What the bridge holds.
pub(crate) fn questions(held: &bridge::Held, verdicts: &mut Verdicts) -> String {
    let (count, minutes) = (bridge::HELD, held.watched.as_secs_f64() / 60.0);
    verdicts.at_most(format!("bridge, {count} held: KiB per question"), held.kib_per_question, 32.0);
    verdicts.at_most(
        format!("bridge, {count} held: memory after {minutes:.0} min ÷ before"),
        held.growth,
        1.05,
    );
    let seen: Vec<_> = held.seen.iter().map(|mib| format!("{mib:.0}")).collect();
    format!(
        "\n{count} questions held, asked again {} times in {minutes:.0} minutes: {:.1} KiB per question, then {} MiB; \
         {} approved and answered.",
        held.again,
        held.kib_per_question,
        seen.join(", "),
        held.allowed
    )
}

/// How much others used of the machine meanwhile.
#[expect(clippy::cast_precision_loss, reason = "ticks of minutes")]
pub(crate) fn machine(others_ticks: u64, all_ticks: u64) -> String {
    let percent = 100.0 * others_ticks as f64 / all_ticks.max(1) as f64;
    format!("\nProcessor time of others meanwhile: {percent:.0} % of the machine.")
}

fn row(text: &mut String, cells: &[String]) {
    // Writing to a string does not fail.
    let _written = writeln!(text, "| {} |", cells.join(" | "));
}

fn rule(text: &mut String, columns: usize) {
    text.push_str(&"|---".repeat(columns));
    text.push_str("|\n");
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

fn memory(memory: Option<Memory>) -> String {
    memory.map_or_else(
        || "–".to_owned(),
        |memory| {
            format!(
                "{:.1} ({:.1})",
                megabytes(memory),
                megabytes(Memory { rss_kib: memory.anon_kib, ..memory })
            )
        },
    )
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process")]
fn megabytes(memory: Memory) -> f64 {
    memory.rss_kib as f64 / 1024.0
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
