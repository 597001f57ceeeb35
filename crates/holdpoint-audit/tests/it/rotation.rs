//! From one file to the next, with crashes in between.

use crate::setup::{Desk, Place, facts};
use holdpoint_core::{Decision, What};
use std::fs;

async fn write(desk: &Desk, calls: u8) {
    for call in 0..calls {
        desk.decided(&facts(call), &crate::setup::hold("THR-1"), Decision::Rejected).await;
    }
}

async fn open(place: &Place, owner: &str) -> Desk {
    place.open_as(owner, |options| options.rotate_bytes = 2000).await
}

#[tokio::test]
async fn the_chain_goes_on_over_files_and_each_is_signed() {
    let place = Place::new();
    let desk = open(&place, "process-1").await;
    write(&desk, 30).await;
    desk.log.close().await;
    let report = place.verify_sound();
    assert!(report.files > 4, "{report:?}");
    for number in 1..report.files {
        let path = place.folder().join(format!("audit-{number:06}.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.lines().last().unwrap().contains("\"what\":\"checkpoint\""));
        assert!(text.len() < 4000);
    }
    // A process that comes later goes on.
    let desk = open(&place, "process-2").await;
    write(&desk, 1).await;
    desk.log.close().await;
    assert!(place.verify_sound().records >= report.records + 2);
}

#[tokio::test]
async fn two_processes_rotate_one_log() {
    let place = Place::new();
    let (one, other) = (open(&place, "process-1").await, open(&place, "process-2").await);
    for _ in 0..20 {
        write(&one, 2).await;
        write(&other, 3).await;
    }
    one.log.close().await;
    other.log.close().await;
    assert!(place.verify_sound().files > 10);
}

/// After the rename, before the new file; and before its first line is whole.
#[tokio::test]
async fn a_crash_in_the_middle_of_it_is_made_good() {
    for left in [None, Some(&b""[..]), Some(&b"{\"v\":1,\"se"[..])] {
        let place = Place::new();
        let desk = open(&place, "process-1").await;
        write(&desk, 1).await;
        desk.log.close().await;
        fs::rename(place.current(), place.folder().join("audit-000001.jsonl")).unwrap();
        if let Some(left) = left {
            fs::write(place.current(), left).unwrap();
        }
        let desk = open(&place, "process-2").await;
        write(&desk, 1).await;
        desk.log.close().await;
        let report = place.verify_sound();
        assert_eq!(report.files, 2);
        let text = fs::read_to_string(place.current()).unwrap();
        assert!(text.lines().next().unwrap().contains("\"what\":\"continued\""));
    }
}

/// Of a line that was moved aside, and of one that was moved aside and not named before another crash.
#[tokio::test]
async fn half_a_line_is_moved_aside_and_named() {
    let place = Place::new();
    let desk = place.open_as("process-1", |_| {}).await;
    write(&desk, 2).await;
    desk.log.close().await;
    let whole = fs::read(place.current()).unwrap();
    let torn = [&whole[..], b"{\"v\":1,\"seq\":"].concat();
    fs::write(place.current(), &torn).unwrap();
    let desk = place.open_as("process-2", |_| {}).await;
    desk.log.close().await;
    let report = place.verify_sound();
    let aside = place.folder().join("torn-000000000006.bin");
    assert_eq!(fs::read(&aside).unwrap(), b"{\"v\":1,\"seq\":");
    assert!(place.lines()[5].contains("\"what\":\"torn\",\"file\":\"torn-000000000006.bin\",\"bytes\":13,"));

    // As the second crash leaves it: aside, cut off, not named.
    fs::write(place.current(), &whole).unwrap();
    place.verify_sound();
    let desk = place.open_as("process-3", |_| {}).await;
    desk.log.close().await;
    assert_eq!(place.verify_sound().records, report.records);
    assert!(place.lines()[5].contains("\"what\":\"torn\""));
}

#[tokio::test]
async fn a_process_that_is_there_moves_another_ones_half_line_aside() {
    let place = Place::new();
    let desk = place.open_as("process-1", |_| {}).await;
    write(&desk, 1).await;
    let torn = [&fs::read(place.current()).unwrap()[..], b"{"].concat();
    fs::write(place.current(), &torn).unwrap();
    desk.record(&facts(1), What::Proposed).await.unwrap();
    write(&desk, 1).await;
    desk.log.close().await;
    place.verify_sound();
    assert!(place.lines().iter().any(|line| line.contains("\"what\":\"torn\"")));
}
