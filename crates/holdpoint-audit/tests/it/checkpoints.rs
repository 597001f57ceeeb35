//! Signatures, when they are made, and what one that is kept elsewhere is good for.

use crate::setup::{Place, facts, findings};
use holdpoint_audit::{Flaw, HeadError, SignedHead, Trust, verify};
use holdpoint_core::What;
use holdpoint_testkit::ManualClock;
use std::{fs, sync::Arc, time::Duration};

#[tokio::test]
async fn a_log_is_signed_after_so_many_records() {
    let place = Place::new();
    let desk = place.open_as("process-1", |options| options.sign_every = 4).await;
    for _ in 0..4 {
        desk.record(&facts(1), What::Allowed).await.unwrap();
    }
    desk.record(
        &facts(1),
        What::Resolved {
            thread: None,
            resolution: holdpoint_core::Resolution::Ran,
            by: holdpoint_core::Resolver::Adapter,
        },
    )
    .await
    .unwrap();
    let report = place.verify_sound();
    assert!(report.checkpoints >= 2, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_quiet_is_signed_once() {
    let place = Place::new();
    let desk = place.open_as("process-1", |options| options.clock = Arc::new(ManualClock::new())).await;
    desk.decided(&facts(1), &crate::setup::hold("THR-1"), holdpoint_core::Decision::Rejected).await;
    assert_eq!(place.verify_sound().unsigned_tail, 1);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(place.verify_sound().unsigned_tail, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Behind the checkpoint in the writer's queue.
    desk.log.checkpoint().await.unwrap();
    let report = place.verify_sound();
    assert_eq!((report.unsigned_tail, report.checkpoints), (0, 2));
    tokio::time::sleep(Duration::from_secs(100)).await;
    desk.log.checkpoint().await.unwrap();
    assert_eq!(place.verify_sound().records, report.records);
}

#[tokio::test]
async fn closing_signs_and_ends_it() {
    let place = Place::new();
    let desk = place.open().await;
    desk.record(&facts(1), What::Proposed).await.unwrap();
    desk.log.close().await;
    desk.log.close().await;
    assert_eq!(place.verify_sound().unsigned_tail, 0);
    let error = desk.record(&facts(1), What::Proposed).await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the audit log is closed");
    assert_eq!(place.verify_sound().records, 4);
}

/// A log, and a checkpoint of its middle as somebody wrote it down.
async fn kept() -> (Place, Trust) {
    let place = Place::new();
    let desk = place.open().await;
    desk.approved(&facts(1), 1, "THR-1").await;
    let line = desk.log.checkpoint().await.unwrap().to_string();
    desk.approved(&facts(2), 2, "THR-2").await;
    desk.log.close().await;
    let trust = Trust { kept: Some(line.parse().unwrap()), ..place.trust() };
    (place, trust)
}

#[tokio::test]
async fn a_log_that_goes_on_from_the_kept_checkpoint_is_sound() {
    let (place, trust) = kept().await;
    let report = verify(&place.folder(), &trust).unwrap();
    assert!(report.is_sound(), "{}", findings(&report).join("\n"));
    assert!(report.head.unwrap().seq() > trust.kept.unwrap().seq());
}

#[tokio::test]
async fn a_log_that_was_cut_off_is_found_by_the_kept_checkpoint_alone() {
    let (place, trust) = kept().await;
    let lines = place.lines();
    fs::write(place.current(), lines[..5].join("\n") + "\n").unwrap();
    place.verify_sound();
    let report = verify(&place.folder(), &trust).unwrap();
    insta::assert_snapshot!(findings(&report).join("\n"), @"current.jsonl: the log ends at record 5, but the checkpoint you kept is of record 8: records were cut off");
}

#[tokio::test]
async fn a_log_that_was_written_anew_with_the_key_is_found_by_the_kept_checkpoint_alone() {
    let (place, trust) = kept().await;
    let lines = place.lines();
    fs::write(place.current(), lines[..5].join("\n") + "\n").unwrap();
    let desk = place.open().await;
    for call in 10..20 {
        desk.record(&facts(call), What::Proposed).await.unwrap();
    }
    desk.log.close().await;
    place.verify_sound();
    let report = verify(&place.folder(), &trust).unwrap();
    assert!(matches!(report.findings[0].flaw, Flaw::Rewritten { seq: 8, .. }), "{report:?}");
    assert_eq!(report.findings[0].line, Some(8));

    // And one that was begun anew.
    fs::remove_dir_all(place.folder()).unwrap();
    let desk = place.open().await;
    desk.approved(&facts(1), 1, "THR-1").await;
    desk.approved(&facts(2), 2, "THR-2").await;
    desk.log.close().await;
    place.verify_sound();
    let report = verify(&place.folder(), &trust).unwrap();
    insta::assert_snapshot!(findings(&report).join("\n"), @"current.jsonl, line 8: the checkpoint you kept is of another log");
}

#[tokio::test]
async fn a_kept_checkpoint_is_read_strictly() {
    let place = Place::new();
    let desk = place.open().await;
    let head = desk.log.checkpoint().await.unwrap();
    let line = head.to_string();
    assert_eq!(line.parse::<SignedHead>().unwrap(), head);
    assert_eq!(format!("{line}\n").parse::<SignedHead>().unwrap(), head);
    assert_eq!(format!("{line} x").parse::<SignedHead>(), Err(HeadError::Malformed));
    assert_eq!("".parse::<SignedHead>(), Err(HeadError::Malformed));
    let forged = line.replacen(" 1 ", " 9 ", 1);
    assert_ne!(forged, line);
    assert_eq!(forged.parse::<SignedHead>(), Err(HeadError::Forged));
}

#[tokio::test]
async fn another_key_from_some_day_on_is_told() {
    let place = Place::new();
    let first = place.key().public();
    place.open().await.log.close().await;
    fs::remove_file(place.root.path().join("audit.key")).unwrap();
    place.open().await.log.close().await;
    let report = verify(&place.folder(), &Trust::default()).unwrap();
    assert!(report.is_sound(), "{}", findings(&report).join("\n"));
    assert_eq!(report.signers, [first, place.key().public()]);
    assert_eq!(place.verify().findings.len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn the_key_is_for_this_user_only_and_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let first = place.key().public();
    let mode = fs::metadata(place.root.path().join("audit.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.key().public(), first);
    assert_eq!(first.to_pem().parse(), Ok(first));
    assert_eq!(first.to_string().parse(), Ok(first));
    fs::write(place.root.path().join("audit.key"), b"nonsense").unwrap();
    let error = holdpoint_audit::AuditKey::load_or_make(&place.root.path().join("audit.key")).unwrap_err();
    assert!(error.to_string().ends_with("is damaged"), "{error}");
}
