//! Whatever is done to a log, its reader is told, with file and line.

use crate::setup::{Place, facts, findings, hold};
use holdpoint_audit::{Flaw, Trust, verify};
use holdpoint_core::Decision;
use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

/// Two files, a line that a crash tore, one call.
async fn small_log() -> Place {
    let place = Place::new();
    let desk = place.open_as("process-1", |options| options.rotate_bytes = 700).await;
    desk.decided(&facts(1), &hold("THR-1"), Decision::Rejected).await;
    desk.decided(&facts(2), &hold("THR-2"), Decision::Rejected).await;
    desk.log.close().await;
    let mut torn = fs::read(place.current()).unwrap();
    torn.extend_from_slice(b"{\"v\":1,\"seq\":99,\"a");
    fs::write(place.current(), torn).unwrap();
    let desk = place.open_as("process-2", |options| options.rotate_bytes = 1_000_000).await;
    desk.record(&facts(2), holdpoint_core::What::Proposed).await.unwrap();
    desk.log.close().await;
    let report = place.verify_sound();
    assert!(report.files == 4, "{report:?}");
    place
}

fn files(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap() != "lock").collect()
}

#[tokio::test]
async fn no_byte_of_any_file_can_be_changed_unseen() {
    let place = small_log().await;
    let trust = place.trust();
    let mut changed = 0;
    for path in files(&place) {
        let content = fs::read(&path).unwrap();
        // In place: a file that is written anew is flushed by some file systems, which takes minutes here.
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut put = |at: usize, byte: u8| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (at, byte) in content.iter().enumerate() {
            for pattern in [0x01, 0x20] {
                put(at, byte ^ pattern);
                let report = verify(&place.folder(), &trust).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(!report.is_sound(), "{name}, byte {at} ^ {pattern:#x}");
                assert_eq!(report.findings[0].file, name, "byte {at}: {}", findings(&report).join("\n"));
                changed += 1;
            }
            put(at, *byte);
        }
    }
    assert!(changed > 5000, "{changed}");
    place.verify_sound();
}

#[tokio::test]
async fn the_changed_line_is_named() {
    let place = small_log().await;
    let mut lines = place.lines();
    lines[1] = lines[1].replace("\"seq\":", "\"seq\":1");
    fs::write(place.current(), lines.join("\n") + "\n").unwrap();
    let report = place.verify();
    insta::assert_snapshot!(findings(&report).join("\n"), @"current.jsonl, line 2: this record was changed after it was written: its hash does not match its text");
}

/// Five records in one file.
async fn one_file() -> (Place, Vec<String>) {
    let place = Place::new();
    let desk = place.open().await;
    for call in 1..=3 {
        desk.record(&facts(call), holdpoint_core::What::Proposed).await.unwrap();
    }
    desk.log.close().await;
    let lines = place.lines();
    assert_eq!(lines.len(), 6);
    (place, lines)
}

#[track_caller]
fn found(place: &Place, lines: &[String]) -> String {
    fs::write(place.current(), lines.join("\n") + "\n").unwrap();
    findings(&place.verify()).join("\n")
}

#[tokio::test]
async fn lines_cannot_be_taken_out_moved_repeated_or_put_in() {
    let (place, lines) = one_file().await;
    let mut deleted = lines.clone();
    deleted.remove(2);
    insta::assert_snapshot!(found(&place, &deleted), @"current.jsonl, line 3: this is record 4, but the next is 3: 1 missing here, or moved elsewhere");
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    insta::assert_snapshot!(found(&place, &swapped), @"current.jsonl, line 3: this is record 4, but the next is 3: 1 missing here, or moved elsewhere");
    let mut repeated = lines.clone();
    repeated.insert(3, lines[2].clone());
    insta::assert_snapshot!(found(&place, &repeated), @"current.jsonl, line 4: this is record 3, but the next is 4: a line was repeated or moved");
    let mut inserted = lines.clone();
    inserted.insert(2, String::new());
    insta::assert_snapshot!(found(&place, &inserted), @"current.jsonl, line 3: this is not a record: it does not begin with a version");
    let first_gone = &lines[1..];
    insta::assert_snapshot!(found(&place, first_gone), @"current.jsonl, line 1: this is record 2, but the next is 1: 1 missing here, or moved elsewhere");
}

#[tokio::test]
async fn a_line_of_another_log_is_found() {
    let (place, mut lines) = one_file().await;
    let (_other, others) = one_file().await;
    lines[3].clone_from(&others[3]);
    insta::assert_snapshot!(found(&place, &lines), @"current.jsonl, line 4: this record was written after another one than the line before it: that line, or this one, was replaced");
}

#[tokio::test]
async fn a_log_that_is_cut_off_in_a_line_is_found() {
    let (place, lines) = one_file().await;
    let whole = lines.join("\n") + "\n";
    let last = lines[5].len();
    for cut in 1..=last {
        fs::write(place.current(), &whole[..whole.len() - cut]).unwrap();
        let report = place.verify();
        assert_eq!(report.findings[0].flaw, Flaw::Unfinished, "{cut}");
        assert_eq!(report.findings[0].line, Some(6));
    }
    // At the end of a line, nothing of the log itself tells: only that it is not signed to its end.
    fs::write(place.current(), &whole[..whole.len() - last - 1]).unwrap();
    assert_eq!(place.verify_sound().unsigned_tail, 3);
}

#[tokio::test]
async fn records_of_other_versions_and_with_unknown_keys_are_not_passed_over() {
    let (place, lines) = one_file().await;
    let mut other = lines.clone();
    other[2] = other[2].replacen("{\"v\":1,", "{\"v\":2,", 1);
    insta::assert_snapshot!(found(&place, &other), @"current.jsonl, line 3: this record is of version `2`, which this program does not know");
    // With a right hash, as whoever rewrites the log would make it.
    let mut other = lines.clone();
    other[5] = rehashed(&lines[5].replace("\"what\":", "\"extra\":1,\"what\":"));
    assert!(
        found(&place, &other)
            .contains("current.jsonl, line 6: this record cannot be read: unknown field `extra`")
    );
    let mut other = lines.clone();
    other[4] = rehashed(&lines[4].replace("\"what\":\"proposed\"", "\"what\":\"approved\""));
    assert!(found(&place, &other).contains("line 5: this record cannot be read: unknown variant `approved`"));
    let long = format!("{{\"v\":1,{}", " ".repeat(400_000));
    let mut other = lines.clone();
    other[4] = long;
    insta::assert_snapshot!(found(&place, &other), @"current.jsonl, line 5: a line is longer than a record can be");
}

#[tokio::test]
async fn a_history_that_is_written_anew_without_the_key_is_found_by_its_signatures() {
    let (place, lines) = one_file().await;
    let mut lines = lines;
    lines[2] = rehashed(&lines[2].replace("alice", "mallory"));
    for at in 3..lines.len() {
        let before = hash_of(&lines[at - 1]).to_owned();
        let prev = lines[at].split_once("\"prev\":\"").unwrap().1[..64].to_owned();
        lines[at] = rehashed(&lines[at].replace(&prev, &before));
    }
    insta::assert_snapshot!(found(&place, &lines), @"current.jsonl, line 6: the signature of this checkpoint is wrong");
}

#[tokio::test]
async fn a_history_that_is_signed_with_another_key_is_found_by_whoever_knows_the_right_one() {
    let (place, _) = one_file().await;
    let (other, _) = one_file().await;
    let report = verify(&other.folder(), &place.trust()).unwrap();
    assert!(matches!(report.findings[0].flaw, Flaw::Untrusted(key) if key == other.key().public()));
    // Who trusts anybody is at least told who signed.
    let report = verify(&other.folder(), &Trust::default()).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.signers, [other.key().public()]);
}

#[tokio::test]
async fn files_that_are_gone_are_named() {
    let place = small_log().await;
    let take = |name: &str| {
        let (path, aside) = (place.folder().join(name), place.root.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let found = findings(&place.verify()).join("\n");
        fs::rename(&aside, &path).unwrap();
        found
    };
    insta::assert_snapshot!(take("audit-000001.jsonl"), @"audit-000001.jsonl: this file is missing");
    insta::assert_snapshot!(take("audit-000002.jsonl"), @"audit-000002.jsonl: this file is missing");
    // The newest full one shows as a gap.
    assert!(take("audit-000003.jsonl").starts_with("current.jsonl, line 1: this is record "));
    insta::assert_snapshot!(take("current.jsonl"), @"current.jsonl: this file is missing");
    let torn = files(&place).into_iter().find(|path| path.extension().unwrap() == "bin").unwrap();
    let name = torn.file_name().unwrap().to_str().unwrap();
    assert_eq!(take(name), format!("{name}: this file is missing"));
    fs::write(place.folder().join("torn-000000000003.bin"), b"x").unwrap();
    insta::assert_snapshot!(findings(&place.verify()).join("\n"), @"torn-000000000003.bin: this is not what was moved aside: no record names it");
}

#[test]
fn a_folder_without_a_log_is_an_error() {
    let place = Place::new();
    assert!(verify(&place.folder(), &Trust::default()).is_err());
    fs::create_dir(place.folder()).unwrap();
    let error = verify(&place.folder(), &Trust::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot find a log in `"), "{error}");
}

fn hash_of(line: &str) -> &str {
    line.rsplit_once(",\"hash\":\"").unwrap().1.trim_end_matches("\"}")
}

pub(crate) fn rehashed(line: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let (head, _) = line.rsplit_once(",\"hash\":\"").unwrap();
    let hash = Sha256::new().chain_update(b"holdpoint/audit/v1\n").chain_update(head).finalize();
    format!("{head},\"hash\":\"{}\"}}", hex::encode(hash))
}
