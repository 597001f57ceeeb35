//! The format: what is written must be readable by whoever knows only its description.

use crate::setup::{Place, facts, hold};
use holdpoint_audit::{PublicKey, Trust, verify};
use holdpoint_core::{Decision, What};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::path::Path;

fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Written by the first version, with a key that is not kept.
#[test]
fn the_vectors_are_read() {
    let key: PublicKey = std::fs::read_to_string(vectors().join("public-key.pem")).unwrap().parse().unwrap();
    let report = verify(&vectors(), &Trust { keys: vec![key], kept: None }).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.records, report.calls, report.runs, report.files), (13, 1, 2, 2));
    let head = "holdpoint/audit/checkpoint/v1 ";
    assert!(report.head.unwrap().to_string().starts_with(head));
}

/// By the description alone, without the code that writes and reads.
#[test]
fn the_vectors_are_what_the_description_says() {
    let mut prev = "0".repeat(64);
    let mut seq = 0;
    for name in ["audit-000001.jsonl", "current.jsonl"] {
        for line in std::fs::read_to_string(vectors().join(name)).unwrap().lines() {
            let (head, hash) = line.rsplit_once(",\"hash\":\"").unwrap();
            let digest = Sha256::digest(format!("holdpoint/audit/v1\n{head}"));
            assert_eq!(format!("{}\"}}", hex::encode(digest)), hash);
            seq += 1;
            assert!(line.starts_with(&format!("{{\"v\":1,\"seq\":{seq},\"at\":\"2026-01-01T00:0")), "{line}");
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let keys: Vec<&String> = value.as_object().unwrap().keys().take(6).collect();
            assert_eq!(keys, ["v", "seq", "at", "prev", "owner", "what"]);
            assert_eq!(value["prev"], prev);
            if value["what"] == "checkpoint" {
                let text = |key: &str| value[key].as_str().unwrap().to_owned();
                let message = format!(
                    "holdpoint/audit/checkpoint/v1\n{}\n{}\n{prev}\n{}\n",
                    text("log"),
                    seq - 1,
                    text("at")
                );
                let key = hex::decode(text("key")).unwrap();
                let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
                key.verify(message.as_bytes(), &hex::decode(text("signature")).unwrap()).unwrap();
            }
            hash.trim_end_matches("\"}").clone_into(&mut prev);
        }
    }
}

/// What is written today is what the vectors hold, but for what is random.
#[tokio::test]
async fn the_vectors_are_still_written() {
    let place = Place::new();
    example(&place).await;
    let shape = |folder: &Path| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let text = read("audit-000001.jsonl") + &read("current.jsonl");
        let random = ["prev", "hash", "log", "key", "signature"];
        let lines = text.lines().map(|line| {
            random.iter().fold(line.to_owned(), |line, key| match line.split_once(&format!("\"{key}\":\"")) {
                Some((before, rest)) => {
                    let (_, after) = rest.split_once('"').unwrap();
                    format!("{before}\"{key}\":{after}")
                }
                None => line,
            })
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(shape(&place.folder()), shape(&vectors()));
}

/// The calls of the vectors.
async fn example(place: &Place) {
    // The token's record waits for nobody, so it may be written with the next one: the file must not be full between them.
    let desk = place.open_as("process-1", |options| options.rotate_bytes = 3000).await;
    desk.approved(&crate::setup::with_effect(1, "refund:7"), 1, "THR-1").await;
    desk.record(&facts(2), What::Allowed).await.unwrap();
    desk.clock.pass(1500);
    desk.decided(&facts(3), &hold("THR-\u{202e}\"\\\n"), Decision::Expired).await;
    desk.log.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever people and agents write stays in its record, and comes back as it was.
    #[test]
    fn any_text_comes_back(thread in ".*", words in "(?s).*", seed: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let desk = place.open().await;
            let hold = hold(&thread);
            let what = What::Decided { hold: &hold, decision: Decision::Approved, message: Some(&words) };
            desk.record(&facts(seed), what).await.unwrap();
            desk.log.close().await;
            place.verify_sound();
            let story = holdpoint_audit::story(&place.folder(), &thread).unwrap();
            assert_eq!(story.len(), 1);
            let value: serde_json::Value = serde_json::from_str(&story[0].text).unwrap();
            assert_eq!(value["message"], words);
            let shown = holdpoint_audit::render(&story);
            assert!(shown.chars().all(|character| character == '\n' || !character.is_control()));
        });
    }
}
