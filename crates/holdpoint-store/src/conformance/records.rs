use std::sync::Arc;

use serde_json::value::RawValue;

use super::{agent, later, race, start, task};
use crate::{
    AgentId, AutomaticDecision, AutomaticOutcome, Idempotency, ImageType, LogEntry, LogSeq, NewEvent,
    NewImage, RecordOutcome, Store,
};

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn automatic(agent: AgentId, idempotency: Option<Idempotency>) -> AutomaticDecision {
    AutomaticDecision {
        agent_id: agent,
        task_id: task("task-1"),
        outcome: AutomaticOutcome::Allow,
        tool_name: "issue_refund".to_owned(),
        subject: "small".to_owned(),
        payload: Some(raw(r#"{"amount": 1.0}"#)),
        payload_digest: "sha256:00".to_owned(),
        rule_trace: raw("[]"),
        idempotency,
        now: start(),
    }
}

fn key(body: u8, answer: &str) -> Idempotency {
    Idempotency { key: "key".to_owned(), body_digest: [body; 32], answer: answer.to_owned() }
}

async fn decisions(store: &dyn Store) -> usize {
    let log = store.log_after(LogSeq(0), 1000).await.unwrap();
    log.iter().filter(|row| matches!(row.entry, LogEntry::DecidedByRules { .. })).count()
}

pub(super) async fn automatic_decisions_are_on_record(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let outcomes = race(|_| {
        let store = Arc::clone(&store);
        async move { store.record_decision(automatic(agent, None)).await.unwrap() }
    })
    .await;
    assert!(outcomes.iter().all(|outcome| *outcome == RecordOutcome::Recorded));
    assert_eq!(decisions(&*store).await, outcomes.len());
    let log = store.log_after(LogSeq(0), 1000).await.unwrap();
    let last = log.last().unwrap();
    assert_eq!((last.agent_id, last.task_id.clone(), last.at), (Some(agent), Some(task("task-1")), start()));
    let LogEntry::DecidedByRules { payload, outcome, .. } = &last.entry else { panic!("{last:?}") };
    assert_eq!(payload.as_ref().unwrap().get(), r#"{"amount": 1.0}"#);
    assert_eq!(*outcome, AutomaticOutcome::Allow);
    assert!(log.is_sorted_by_key(|row| row.seq));
    assert!(store.log_after(last.seq, 10).await.unwrap().is_empty());
}

pub(super) async fn an_idempotency_key_answers_once(store: Arc<dyn Store>) {
    let (one, two) = (agent(&*store, "one").await, agent(&*store, "two").await);
    let record = async |agent, key| store.record_decision(automatic(agent, key)).await.unwrap();
    assert_eq!(record(one, Some(key(1, "first"))).await, RecordOutcome::Recorded);
    assert_eq!(record(one, Some(key(1, "second"))).await, RecordOutcome::Replayed("first".to_owned()));
    assert_eq!(record(one, Some(key(2, "third"))).await, RecordOutcome::KeyConflict);
    assert_eq!(
        record(two, Some(key(2, "fourth"))).await,
        RecordOutcome::Recorded,
        "keys belong to their agent"
    );
    assert_eq!(decisions(&*store).await, 2);
}

pub(super) async fn racing_idempotency_keys(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let outcomes = race(|racer| {
        let store = Arc::clone(&store);
        async move { store.record_decision(automatic(agent, Some(key(1, &racer.to_string())))).await.unwrap() }
    })
    .await;
    let recorded = outcomes.iter().filter(|outcome| **outcome == RecordOutcome::Recorded).count();
    assert_eq!((recorded, decisions(&*store).await), (1, 1));
    let answers: std::collections::HashSet<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            RecordOutcome::Replayed(answer) => Some(answer),
            RecordOutcome::Recorded => None,
            RecordOutcome::KeyConflict => panic!("the bodies are the same"),
        })
        .collect();
    assert_eq!(answers.len(), 1, "everybody gets the winner's answer");
}

pub(super) async fn events_keep_their_payload_and_images(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let event = NewEvent {
        agent_id: agent,
        task_id: task("task-1"),
        event_type: "task.started".to_owned(),
        event_summary: "began".to_owned(),
        payload: Some(raw(r#"{"n": 9007199254740993}"#)),
        images: vec![
            NewImage { image_type: ImageType::Png, bytes: vec![1, 2, 3] },
            NewImage { image_type: ImageType::Webp, bytes: vec![4] },
        ],
        now: later(1),
    };
    let seq = store.add_event(event).await.unwrap();
    let timeline = store.timeline(agent, &task("task-1"), 10).await.unwrap();
    let LogEntry::Event { payload, .. } = &timeline.first().unwrap().entry else { panic!("{timeline:?}") };
    assert_eq!(payload.as_ref().unwrap().get(), r#"{"n": 9007199254740993}"#);
    let images = store.images_of_event(seq).await.unwrap();
    let types: Vec<_> = images.iter().map(|image| image.image_type).collect();
    assert_eq!(types, [ImageType::Png, ImageType::Webp]);
    let first = store.image(images.first().unwrap().id).await.unwrap().unwrap();
    assert_eq!((first.image_type, first.bytes), (ImageType::Png, vec![1, 2, 3]));
    assert!(store.timeline(agent, &task("task-2"), 10).await.unwrap().is_empty());
    assert!(store.image(crate::ImageId(i64::MAX)).await.unwrap().is_none());
}
