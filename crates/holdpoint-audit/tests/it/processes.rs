//! Several processes, and processes that die in the middle of a write.

use crate::setup::{Place, facts};
use holdpoint_audit::{AuditKey, AuditLog, Options};
use holdpoint_core::{Event, Owner, Recorder as _, Resolution, Resolver, What};
use holdpoint_testkit::ManualClock;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

const FOLDER: &str = "HOLDPOINT_AUDIT_TEST_FOLDER";
const RECORDS: &str = "HOLDPOINT_AUDIT_TEST_RECORDS";

/// This test in a process of its own, appending to `folder`.
pub(crate) fn appender(folder: &Path, records: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::one_process_appends", "--nocapture"]);
    command.env(FOLDER, folder).env(RECORDS, records.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// On its own, a test of a log of its own. With a folder in its environment, one of the processes of the tests below.
#[tokio::test]
async fn one_process_appends() {
    let own = Place::new();
    let root = std::env::var_os(FOLDER).map_or_else(|| own.root.path().to_owned(), PathBuf::from);
    let records: u32 = std::env::var(RECORDS).map_or(10, |records| records.parse().unwrap());
    let clock = Arc::new(ManualClock::new());
    let owner = Owner(format!("process-{}", std::process::id()).into());
    let mut options = Options::new(owner, Arc::clone(&clock) as Arc<_>);
    options.rotate_bytes = 100_000;
    let key = AuditKey::load_or_make(&root.join("audit.key")).unwrap();
    let log = AuditLog::open(&root.join("audit"), key, options).await.unwrap();
    for number in 0..records {
        let by = Resolver::Person("somebody");
        let what = match number % 3 {
            0 => What::Resolved { thread: None, resolution: Resolution::Ran, by },
            _ => What::Proposed,
        };
        let at = holdpoint_core::Clock::now(&*clock);
        // A full queue says so; whoever calls would be refused.
        while let Err(error) = log.record(Event { at, facts: &facts(1), what }).await {
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.starts_with("too many records"), "{source}");
            tokio::task::yield_now().await;
        }
    }
    log.close().await;
    let report = holdpoint_audit::verify(&root.join("audit"), &holdpoint_audit::Trust::default()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.calls + 1 >= u64::from(records) * 2 / 3);
}

#[tokio::test]
async fn several_processes_make_one_chain() {
    let place = Place::new();
    let children: Vec<Child> = (0..4).map(|_| appender(place.root.path(), 1000).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let report = place.verify_sound();
    assert_eq!(report.calls, 4 * 666);
    assert!(report.records > 4000 && report.files > 5, "{report:?}");
    assert_eq!(report.unsigned_tail, 0);
}

/// Killed wherever it happens to be, again and again; what it had on the disk stays, and the next one goes on.
#[tokio::test]
async fn a_process_that_is_killed_leaves_a_log_that_goes_on() {
    let place = Place::new();
    let mut before = 0;
    for round in 0..25_u64 {
        let mut child = appender(place.root.path(), 1_000_000).spawn().unwrap();
        // Until it writes, and then a little further each time.
        while records(&place) <= before {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        let until = std::time::Instant::now() + std::time::Duration::from_micros(round * 777);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let desk = place.open_as("survivor", |options| options.rotate_bytes = 100_000).await;
        desk.record(&facts(9), What::Proposed).await.unwrap();
        desk.log.close().await;
        let report = place.verify_sound();
        assert!(report.records > before, "round {round}");
        before = report.records;
    }
}

/// Lines in all files; a rotation on the way makes them look fewer for a moment.
fn records(place: &Place) -> u64 {
    let Ok(files) = std::fs::read_dir(place.folder()) else {
        return 0;
    };
    let paths = files.flatten().map(|entry| entry.path());
    let jsonl = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    jsonl
        .map(|path| {
            std::fs::read(path).map_or(0, |bytes| bytes.split(|byte| *byte == b'\n').count() as u64 - 1)
        })
        .sum()
}
