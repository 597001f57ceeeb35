//! Journals that earlier versions left: read whole, and gone on with.

use std::path::{Path, PathBuf};

use holdpoint_core::{
    CallDigest, EffectKey, EffectState, Ending, HeldCall, HoldId, HoldState, Identity, Journal, Moved,
    OperationBook as _, OperationId, OperationState, Owner, Principal, Resolution, ServerName, Settled, Step,
    StoredResult, TaskId, TicketBook, TicketId, TicketState, TicketStep, ToolName,
};
use holdpoint_store_sqlite::SqliteJournal;
use jiff::Timestamp;
use tempfile::TempDir;

const STATES: [HoldState; 12] = [
    HoldState::Pending,
    HoldState::Approved,
    HoldState::Dispatched,
    HoldState::Done,
    HoldState::Done,
    HoldState::Unknown,
    HoldState::Rejected,
    HoldState::Expired,
    HoldState::Cancelled,
    HoldState::ChangesRequested,
    HoldState::Void,
    HoldState::Void,
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy that may be changed.
async fn open(folder: &TempDir, schema: usize) -> SqliteJournal {
    let path = folder.path().join("journal.db");
    std::fs::copy(fixtures().join(format!("journal-{schema}.db")), &path).unwrap();
    SqliteJournal::open(&path, Owner("now".into())).await.unwrap()
}

fn at() -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap()
}

fn identity(digest: CallDigest) -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest,
    }
}

async fn held(journal: &SqliteJournal, id: i64) -> HeldCall {
    journal.get(HoldId(id)).await.unwrap().unwrap()
}

async fn step(journal: &SqliteJournal, id: i64, step: Step) {
    assert_eq!(journal.advance(HoldId(id), step.clone(), at()).await.unwrap(), Moved::Yes, "{id} {step:?}");
}

#[test]
fn each_schema_has_a_fixture() {
    let count = |folder: &Path, ending: &str| {
        let files = std::fs::read_dir(folder).unwrap().flatten();
        files.filter(|file| file.file_name().to_string_lossy().ends_with(ending)).count()
    };
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/journal");
    assert_eq!(count(&fixtures(), ".db"), count(&migrations, ".sql"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_in_every_state_is_read_and_gone_on_with() {
    for schema in 1..=5 {
        let folder = TempDir::new().unwrap();
        let journal = open(&folder, schema).await;
        for (state, id) in STATES.into_iter().zip(1..) {
            let hold = held(&journal, id).await;
            assert_eq!((hold.state, hold.hold.revision), (state, 0));
            assert_eq!(hold.arguments.as_deref(), Some(r#"{"amount": 1.0}"#));
            assert!(hold.question.is_none() && hold.effect.is_none(), "these are older than that");
            let digest = CallDigest::from_bytes([u8::try_from(id).unwrap(); 32]);
            let found = journal.find(&identity(digest), &TaskId::new("task-1")).await.unwrap();
            let ended = [5, 7, 8, 9, 10, 11, 12].contains(&id);
            assert_eq!((found.live.is_none(), found.ended), (ended, u64::from(ended)), "{id}");
            assert_eq!(found.revises.map(|hold| hold.id), Some(HoldId(10)));
        }
        assert_eq!(held(&journal, 4).await.result, Some(StoredResult::new(&b"42"[..])));
        let owner = Owner("one".into());
        step(&journal, 1, Step::Claim { owner: owner.clone(), stale_before: at() }).await;
        step(&journal, 1, Step::Dispatch { owner: owner.clone() }).await;
        step(&journal, 2, Step::Dispatch { owner }).await;
        step(&journal, 3, Step::Lose).await;
        step(&journal, 4, Step::Deliver).await;
        step(&journal, 6, Step::Resolve(Resolution::DidNotRun)).await;
        step(&journal, 10, Step::TakeUp { digest: CallDigest::from_bytes([10; 32]) }).await;
        for id in [5, 7, 8, 9, 11, 12] {
            let end = Step::End { ending: Ending::Void, words: None };
            assert_eq!(journal.advance(HoldId(id), end, at()).await.unwrap(), Moved::No);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_and_revisions_of_schema_3() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder, 3).await;
    let runs = journal.effects(10).await.unwrap();
    let states: Vec<_> = runs.iter().map(|run| (run.key.as_str(), run.state)).collect();
    let expected = [
        ("refund 33", EffectState::Unknown),
        ("refund 21", EffectState::Taken),
        ("refund 32", EffectState::Done),
    ];
    assert_eq!(states, expected);
    let (asked_again, revised) = (held(&journal, 22).await, held(&journal, 23).await);
    assert_eq!(asked_again.words.as_deref(), Some("smaller, please"));
    assert_eq!(asked_again.taken_up_by, Some(revised.identity.digest));
    assert_eq!((revised.hold.revision, revised.effect), (1, Some(EffectKey::new("refund 23"))));
    let run = runs.iter().find(|run| run.hold == Some(HoldId(21))).unwrap();
    assert_eq!(journal.settle(run.id, Settled::Void, at()).await.unwrap(), Moved::Yes);
    assert_eq!(held(&journal, 21).await.state, HoldState::Void);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_schema_4() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder, 4).await;
    let identity = identity(CallDigest::from_bytes([1; 32]));
    for (name, hold, state) in [("ticket-1", 1, TicketState::Open), ("ticket-4", 4, TicketState::Answered)] {
        let found = journal.ticket(&identity.principal, &identity.server, &TicketId::new(name)).await;
        let ticket = found.unwrap().unwrap();
        assert_eq!((ticket.hold, ticket.state), (HoldId(hold), state));
        assert_eq!(ticket.request.as_bytes(), b"{}");
        let moved = journal.advance_ticket(&ticket.id, ticket.round, TicketStep::Cancel, at()).await;
        assert_eq!(moved.unwrap(), Moved::Yes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_schema_5() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder, 5).await;
    for (name, round, state) in [("op_1", 0, OperationState::Waiting), ("op_4", 1, OperationState::Answered)]
    {
        let operation = journal.operation(&OperationId::new(name)).await.unwrap().unwrap();
        assert_eq!((operation.round, operation.now.state), (round, state));
        assert_eq!(operation.now.content.as_bytes(), b"{}");
        let moved = journal.advance_operation(&operation.id, round, operation.now, at()).await;
        assert_eq!(moved.unwrap(), Moved::Yes);
    }
    assert_eq!(journal.operation_owners().await.unwrap(), [Owner("one".into())]);
}
