//! A log that cannot be written says so, to everybody, until it can.

use crate::{
    processes::appender,
    setup::{Desk, Place, facts, hold},
};
use holdpoint_audit::{AppendError, AuditLog, OpenError, Options, RECORD_BYTES_MAX, WriteError};
use holdpoint_core::{Decision, Grounds, Owner, RecordError, ThreadId, What};
use holdpoint_testkit::ManualClock;
use std::{fs, future::poll_fn, pin::Pin, sync::Arc, task::Poll};

fn cause(error: &RecordError) -> &AppendError {
    error.0.downcast_ref().unwrap()
}

fn hint(error: &RecordError) -> (String, &'static str) {
    match cause(error) {
        AppendError::Write(error) => (error.to_string(), error.hint()),
        error @ (AppendError::Full | AppendError::TooLong(_) | AppendError::Closed) => {
            (error.to_string(), "")
        }
    }
}

async fn dispatch(desk: &Desk) -> Result<(), RecordError> {
    let grounds = Grounds::ApprovedWithoutToken(ThreadId::new("THR-1"));
    desk.record(&facts(1), What::Dispatching { id: None, grounds: &grounds }).await
}

async fn decide(desk: &Desk, decision: Decision) -> Result<(), RecordError> {
    let what = What::Decided { hold: &hold("THR-1"), decision, message: None };
    desk.record(&facts(1), what).await
}

#[tokio::test]
async fn while_nothing_can_be_written_every_step_is_refused_and_afterwards_what_happened_is_there() {
    let place = Place::new();
    let desk = place.open().await;
    decide(&desk, Decision::Approved).await.unwrap();
    let (folder, aside) = (place.folder(), place.root.path().join("aside"));
    fs::rename(&folder, &aside).unwrap();

    let error = dispatch(&desk).await.unwrap_err();
    let (text, hint) = hint(&error);
    assert!(text.contains(&format!("`{}/", folder.display())), "{text}");
    assert_eq!(hint, "put the folder back; a new log is only begun when the process starts");
    // Also those who would not wait for the disk; and every time anew.
    for _ in 0..3 {
        assert!(desk.record(&facts(2), What::Proposed).await.is_err());
        assert!(decide(&desk, Decision::Rejected).await.is_err());
    }
    assert!(!folder.exists());

    fs::rename(&aside, &folder).unwrap();
    dispatch(&desk).await.unwrap();
    desk.log.close().await;
    let report = place.verify_sound();
    // The dispatch that was refused did not happen, and is not told.
    assert_eq!((report.calls, report.runs, report.lost), (3, 1, 0));
    let lines = place.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("\"decision\":\"rejected\"")).count(), 3);
}

#[tokio::test]
async fn what_cannot_be_kept_any_more_is_counted() {
    let place = Place::new();
    let desk = place.open().await;
    let (folder, aside) = (place.folder(), place.root.path().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    for _ in 0..4100 {
        assert!(decide(&desk, Decision::Rejected).await.is_err());
    }
    fs::rename(&aside, &folder).unwrap();
    decide(&desk, Decision::Expired).await.unwrap();
    desk.log.close().await;
    let report = place.verify_sound();
    assert_eq!(report.lost, 4);
    let text = fs::read_to_string(place.current()).unwrap();
    assert_eq!(text.matches("\"decision\":\"rejected\"").count(), 4096);
}

#[tokio::test]
async fn another_log_in_its_place_is_not_written_to() {
    let place = Place::new();
    let desk = place.open().await;
    dispatch(&desk).await.ok();
    fs::rename(place.folder(), place.root.path().join("aside")).unwrap();
    fs::create_dir(place.folder()).unwrap();
    let error = dispatch(&desk).await.unwrap_err();
    assert!(matches!(cause(&error), AppendError::Write(error) if matches!(**error, WriteError::Replaced(_))));
    assert!(!place.current().exists());

    let other = place.open_as("process-2", |_| {}).await;
    dispatch(&other).await.unwrap();
    assert!(dispatch(&desk).await.is_err());
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_not_written_to() {
    let place = Place::new();
    let desk = place.open().await;
    decide(&desk, Decision::Rejected).await.unwrap();
    let lines = place.lines();
    fs::write(place.current(), lines[..2].join("\n") + "\n").unwrap();
    let error = dispatch(&desk).await.unwrap_err();
    assert!(hint(&error).0.ends_with("is not the one that this process has written to"));
    assert_eq!(place.lines().len(), 2);
}

#[tokio::test]
async fn a_log_whose_last_line_was_changed_is_not_opened() {
    let place = Place::new();
    let desk = place.open().await;
    decide(&desk, Decision::Approved).await.unwrap();
    desk.log.close().await;
    let text = fs::read_to_string(place.current()).unwrap();
    let last = text.rfind("process-1").unwrap();
    fs::write(place.current(), format!("{}P{}", &text[..last], &text[last + 1..])).unwrap();
    let options = Options::new(Owner("process-2".into()), Arc::new(ManualClock::new()));
    let error = AuditLog::open(&place.folder(), place.key(), options).await.unwrap_err();
    assert!(matches!(error, OpenError::Write(WriteError::Damaged(_))), "{error}");
    assert!(error.hint().starts_with("`holdpoint audit verify` names the line"));
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_refused_at_the_start() {
    let place = Place::new();
    let options = || Options::new(Owner("process-1".into()), Arc::new(ManualClock::new()) as Arc<_>);
    // A file is where the folder should be.
    fs::write(place.folder(), b"").unwrap();
    let error = AuditLog::open(&place.folder(), place.key(), options()).await.unwrap_err();
    assert!(error.to_string().contains(&place.folder().display().to_string()), "{error}");
    fs::remove_file(place.folder()).unwrap();
    // A folder is where the file should be.
    fs::create_dir_all(place.current()).unwrap();
    let error = AuditLog::open(&place.folder(), place.key(), options()).await.unwrap_err();
    assert!(error.to_string().contains(&place.current().display().to_string()), "{error}");
    // A name that would need escapes.
    let options = Options::new(Owner("a\"b".into()), Arc::new(ManualClock::new()));
    let error = AuditLog::open(&place.folder(), place.key(), options).await.unwrap_err();
    assert!(matches!(error, OpenError::Owner(_)));
}

/// As on a disk that is full: the kernel takes a part of the line, and no more.
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_fills_up_leaves_whole_lines() {
    let place = Place::new();
    place.open().await.log.close().await;
    let child = appender(place.root.path(), 1000);
    let mut shell = std::process::Command::new("sh");
    // Files of at most 20 blocks of 512 bytes; without the trap, the limit kills.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 20; exec \"$@\"", "sh"]);
    shell.arg(child.get_program()).args(child.get_args());
    shell.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("the audit log cannot be written"), "{text}");
    let full = place.verify_sound();
    assert!(full.records > 5, "{full:?}");
    assert!(fs::metadata(place.current()).unwrap().len() <= 20 * 1024);

    let desk = place.open_as("process-2", |_| {}).await;
    decide(&desk, Decision::Approved).await.unwrap();
    desk.log.close().await;
    assert_eq!(place.verify_sound().records, full.records + 2);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused() {
    let place = Place::new();
    let desk = place.open().await;
    let words = "x".repeat(RECORD_BYTES_MAX);
    let what = What::Decided { hold: &hold("THR-1"), decision: Decision::Rejected, message: Some(&words) };
    let error = desk.record(&facts(1), what).await.unwrap_err();
    assert!(matches!(cause(&error), AppendError::TooLong(_)));
    let words = "x".repeat(RECORD_BYTES_MAX - 2000);
    let what = What::Decided { hold: &hold("THR-1"), decision: Decision::Rejected, message: Some(&words) };
    desk.record(&facts(1), what).await.unwrap();
    desk.log.close().await;
    place.verify_sound();
}

/// Nobody writes while somebody holds the lock. The queue takes so many, the next waits for a place: not for good.
#[tokio::test]
async fn a_queue_that_is_full_is_waited_for_and_then_says_so() {
    let place = Place::new();
    let desk = place.open().await;
    let lock = fs::File::open(place.folder().join("lock")).unwrap();
    lock.lock().unwrap();
    let facts = facts(1);
    let mut taken = 0;
    let refused = loop {
        let mut next = Box::pin(desk.record(&facts, What::Proposed));
        let recorded = if let Some(recorded) = poll_once(next.as_mut()).await {
            recorded
        } else {
            desk.clock.wake();
            next.await
        };
        match recorded {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(cause(&refused), AppendError::Full), "{refused:?}");
    assert!((4096..=4096 + 1025).contains(&taken), "{taken}");

    let waiting = loop {
        let mut next = Box::pin(desk.record(&facts, What::Proposed));
        match poll_once(next.as_mut()).await {
            Some(recorded) => recorded.unwrap(),
            None => break next,
        }
        taken += 1;
    };
    lock.unlock().unwrap();
    waiting.await.unwrap();
    desk.log.close().await;
    assert_eq!(place.verify_sound().calls, taken + 1);
}

/// What a future says to being asked once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A process that was stopped in the middle of a write must not stop all others for good.
#[tokio::test]
async fn a_lock_that_nobody_gives_back_refuses_and_is_waited_for_again() {
    let place = Place::new();
    let desk = place.open().await;
    let stopped = fs::File::options().write(true).open(place.folder().join("lock")).unwrap();
    stopped.lock().unwrap();
    let error = dispatch(&desk).await.unwrap_err();
    assert!(matches!(cause(&error), AppendError::Write(_)), "{error:?}");
    stopped.unlock().unwrap();
    dispatch(&desk).await.unwrap();
}
