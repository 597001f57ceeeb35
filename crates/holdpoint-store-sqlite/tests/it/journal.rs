//! The journal: the state machine against a model, races over two handles, and a find that reads nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdpoint_core::{
    CallDigest, DefinitionDigest, Ending, Found, HeldCall, Hold, HoldId, HoldState, Identity, Journal, Moved,
    NewHold, Opened, Owner, PolicyRevision, Principal, Resolution, ServerName, Step, StoredResult, TaskId,
    ThreadId, ToolName,
};
use holdpoint_store_sqlite::SqliteJournal;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::gate::raw_connection;

const RACERS: usize = 64;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn identity(which: u8) -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest: CallDigest::from_bytes([which; 32]),
    }
}

fn new_hold(which: u8, seconds: i64) -> NewHold {
    NewHold {
        identity: identity(which),
        hold: Hold {
            task: TaskId::new("task-1"),
            thread: ThreadId::new(format!("THR-{which}-{seconds}")),
            binding: "sha256:00 r1".to_owned(),
            review_url: Some("http://127.0.0.1/threads/1".to_owned()),
        },
        arguments: Some(Arc::from(r#"{"amount": 1.0}"#)),
        definition: Some(DefinitionDigest::from_bytes([9; 32])),
        policy: PolicyRevision::new("p1"),
        at: at(seconds),
    }
}

fn owner(name: &str) -> Owner {
    Owner(Arc::from(name))
}

fn claim(name: &str) -> Step {
    Step::Claim { owner: owner(name), stale_before: at(-1000) }
}

async fn open(folder: &TempDir) -> SqliteJournal {
    SqliteJournal::open(&folder.path().join("journal.db")).await.unwrap()
}

async fn mine(journal: &SqliteJournal, which: u8, seconds: i64) -> HeldCall {
    match journal.open(new_hold(which, seconds)).await.unwrap() {
        Opened::Mine(hold) => hold,
        Opened::Joined(hold) => panic!("joined {hold:?}"),
        Opened::Spent => panic!("the thread had a hold before"),
    }
}

#[track_caller]
fn same(one: &HeldCall, two: &HeldCall) {
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_read_back_as_it_was_written() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    assert!(journal.find(&identity(1)).await.unwrap().live.is_none());
    let hold = mine(&journal, 1, 0).await;
    let new = new_hold(1, 0);
    assert_eq!((&hold.hold, &hold.arguments, &hold.definition), (&new.hold, &new.arguments, &new.definition));
    assert_eq!((hold.state, hold.opened_at, &hold.policy), (HoldState::Pending, at(0), &new.policy));
    same(&journal.find(&identity(1)).await.unwrap().live.unwrap(), &hold);
    same(&journal.get(hold.id).await.unwrap().unwrap(), &hold);
    same(journal.live(10).await.unwrap().first().unwrap(), &hold);
    assert!(journal.get(HoldId(999)).await.unwrap().is_none());
    assert!(journal.find(&identity(2)).await.unwrap().live.is_none());
    let mut without = new_hold(2, 5);
    (without.arguments, without.definition, without.hold.review_url) = (None, None, None);
    assert!(matches!(journal.open(without).await.unwrap(), Opened::Mine(_)));
    let ids: Vec<_> = journal.live(10).await.unwrap().iter().map(|hold| hold.identity.clone()).collect();
    assert_eq!(ids, [identity(1), identity(2)]);
    assert_eq!(journal.live(1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let ended = mine(&journal, 1, 0).await;
    assert_eq!(journal.advance(ended.id, Step::End(Ending::Rejected), at(1)).await.unwrap(), Moved::Yes);
    let live = mine(&journal, 1, 2).await;
    assert_eq!(journal.advance(live.id, claim("a"), at(3)).await.unwrap(), Moved::Yes);
    let before = journal.find(&identity(1)).await.unwrap();
    journal.close().await;
    drop(journal);
    let after = open(&folder).await.find(&identity(1)).await.unwrap();
    assert_eq!((before.ended, after.ended), (1, 1));
    same(&after.live.unwrap(), &before.live.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_waits_for_its_caller_and_is_then_forgotten() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let hold = mine(&journal, 1, 0).await;
    let step = async |step| journal.advance(hold.id, step, at(1)).await.unwrap();
    let _ = step(claim("a")).await;
    assert_eq!(step(Step::Dispatch { owner: owner("b") }).await, Moved::No, "only who claimed may run");
    assert_eq!(step(Step::Dispatch { owner: owner("a") }).await, Moved::Yes);
    assert_eq!(step(Step::End(Ending::Cancelled)).await, Moved::No, "the tool may have seen it");
    let result = StoredResult::new(&b"42"[..]);
    assert_eq!(step(Step::Finish { result: Some(result.clone()) }).await, Moved::Yes);
    let live = journal.find(&identity(1)).await.unwrap().live.unwrap();
    assert_eq!((live.state, live.result, live.delivered), (HoldState::Done, Some(result), false));
    assert!(matches!(journal.open(new_hold(1, 2)).await.unwrap(), Opened::Joined(_)));
    assert_eq!(step(Step::Deliver).await, Moved::Yes);
    assert_eq!(step(Step::Deliver).await, Moved::No);
    let found = journal.find(&identity(1)).await.unwrap();
    assert!(found.live.is_none() && found.ended == 1);
    let kept = journal.get(hold.id).await.unwrap().unwrap();
    assert!(kept.delivered && kept.result.is_none());
    let _ = mine(&journal, 1, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owners_claim_is_taken_over_and_a_live_ones_is_not() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let hold = mine(&journal, 1, 0).await;
    let take = async |name: &str, stale_before, now| {
        let step = Step::Claim { owner: owner(name), stale_before: at(stale_before) };
        journal.advance(hold.id, step, at(now)).await.unwrap()
    };
    assert_eq!(take("a", 0, 10).await, Moved::Yes);
    assert_eq!(take("b", 10, 20).await, Moved::No);
    assert_eq!(take("b", 11, 20).await, Moved::Yes);
    let dispatch = async |name: &str| {
        journal.advance(hold.id, Step::Dispatch { owner: owner(name) }, at(21)).await.unwrap()
    };
    assert_eq!(dispatch("a").await, Moved::No);
    assert_eq!(dispatch("b").await, Moved::Yes);
    assert_eq!(take("c", 1000, 30).await, Moved::No, "what may have run is never claimed");
}

/// Also over another handle, and for another call: what was decided was not about that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_has_one_hold() {
    let folder = TempDir::new().unwrap();
    let (journal, other) = (open(&folder).await, open(&folder).await);
    let hold = mine(&journal, 1, 0).await;
    let foreign = NewHold { identity: identity(2), ..new_hold(1, 0) };
    assert!(matches!(other.open(new_hold(1, 0)).await.unwrap(), Opened::Joined(_)));
    assert!(matches!(other.open(foreign.clone()).await.unwrap(), Opened::Spent));
    assert_eq!(journal.advance(hold.id, Step::End(Ending::Cancelled), at(1)).await.unwrap(), Moved::Yes);
    for journal in [&journal, &other] {
        assert!(matches!(journal.open(new_hold(1, 0)).await.unwrap(), Opened::Spent));
        assert!(matches!(journal.open(foreign.clone()).await.unwrap(), Opened::Spent));
    }
    mine(&other, 1, 1).await;
}

/// Of 64 that open, claim and dispatch at once over two handles, one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_have_one_winner() {
    let folder = TempDir::new().unwrap();
    let journals = [Arc::new(open(&folder).await), Arc::new(open(&folder).await)];
    for round in 0..4 {
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let journal = Arc::clone(&journals[racer % 2]);
            racers.spawn(async move { journal.open(new_hold(round, 0)).await.unwrap() });
        }
        let opened = racers.join_all().await;
        let holds: Vec<_> = opened
            .iter()
            .filter_map(|opened| match opened {
                Opened::Mine(hold) => Some(hold.id),
                Opened::Joined(_) => None,
                Opened::Spent => panic!("nothing has ended"),
            })
            .collect();
        let &[id] = holds.as_slice() else { panic!("{holds:?} were opened") };
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let journal = Arc::clone(&journals[racer % 2]);
            racers.spawn(async move {
                let name = racer.to_string();
                let claimed = journal.advance(id, claim(&name), at(1)).await.unwrap();
                let ran = journal.advance(id, Step::Dispatch { owner: owner(&name) }, at(1)).await.unwrap();
                assert_eq!(claimed, ran, "claimed and could not run, or ran without a claim");
                ran
            });
        }
        let ran = racers.join_all().await.into_iter().filter(|ran| *ran == Moved::Yes).count();
        assert_eq!(ran, 1);
        for journal in &journals {
            let live = journal.find(&identity(round)).await.unwrap().live.unwrap();
            assert_eq!((live.id, live.state), (id, HoldState::Dispatched));
        }
    }
}

/// With its database handles closed a journal can only answer from memory: it does while nothing changed, and refuses
/// as soon as another process committed.
#[tokio::test(flavor = "multi_thread")]
async fn finding_reads_nothing_until_somebody_commits() {
    let folder = TempDir::new().unwrap();
    let (journal, other) = (open(&folder).await, open(&folder).await);
    let hold = mine(&other, 1, 0).await;
    same(&journal.find(&identity(1)).await.unwrap().live.unwrap(), &hold);
    journal.close().await;
    for _ in 0..1000 {
        same(&journal.find(&identity(1)).await.unwrap().live.unwrap(), &hold);
    }
    assert_eq!(other.advance(hold.id, Step::End(Ending::Cancelled), at(1)).await.unwrap(), Moved::Yes);
    assert!(journal.find(&identity(1)).await.is_err(), "it told what was true before");
    assert!(journal.open(new_hold(2, 0)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_committed_is_found_at_once() {
    let folder = TempDir::new().unwrap();
    let journals = [open(&folder).await, open(&folder).await];
    for round in 0..100_u8 {
        let (writes, reads) = (&journals[usize::from(round % 2)], &journals[usize::from((round + 1) % 2)]);
        let hold = mine(writes, round, 0).await;
        same(&reads.find(&identity(round)).await.unwrap().live.unwrap(), &hold);
        assert_eq!(reads.advance(hold.id, Step::End(Ending::Expired), at(1)).await.unwrap(), Moved::Yes);
        let found = writes.find(&identity(round)).await.unwrap();
        assert!(found.live.is_none() && found.ended == 1);
    }
}

/// While a handle commits all the time, another's commit falls right behind one of its own again and again. It must not
/// be taken for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_right_behind_our_own_is_seen() {
    const ROUNDS: i64 = 40;
    let folder = TempDir::new().unwrap();
    let (busy, other) = (Arc::new(open(&folder).await), open(&folder).await);
    let done = Arc::new(AtomicBool::new(false));
    let noise = tokio::spawn({
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        async move {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let hold = mine(&busy, 2, round).await;
                let _ = busy.advance(hold.id, Step::End(Ending::Void), at(round)).await.unwrap();
            }
        }
    });
    for round in 0..ROUNDS {
        let hold = mine(&other, 1, round).await;
        let found = busy.find(&identity(1)).await.unwrap().live;
        assert_eq!(found.map(|found| found.id), Some(hold.id), "round {round}");
        let _ = other.advance(hold.id, Step::End(Ending::Void), at(round)).await.unwrap();
        assert!(busy.find(&identity(1)).await.unwrap().live.is_none(), "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    noise.await.unwrap();
}

/// A checkpoint that starts the log over rewrites the header without a commit of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_in_between_hides_nothing() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let mut raw = raw_connection(&folder.path().join("journal.db")).await;
    for round in 0..20_u8 {
        let hold = mine(&journal, round, 0).await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut raw).await.unwrap();
        same(&journal.find(&identity(round)).await.unwrap().live.unwrap(), &hold);
        sqlx::query("UPDATE holds SET state = 'cancelled', version = version + 1000 WHERE id = $1")
            .bind(hold.id.0)
            .execute(&mut raw)
            .await
            .unwrap();
        assert!(journal.find(&identity(round)).await.unwrap().live.is_none(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_rows() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let hold = mine(&journal, 1, 0).await;
    let mut raw = raw_connection(&folder.path().join("journal.db")).await;
    for (sql, why) in [
        ("UPDATE holds SET state = 'approved'", "CHECK"),
        ("UPDATE holds SET state = 'running'", "CHECK"),
        ("UPDATE holds SET result = x'00'", "CHECK"),
        ("UPDATE holds SET delivered = 1", "CHECK"),
        ("UPDATE holds SET arguments = '{}'", "never changed"),
        ("UPDATE holds SET thread_id = 'THR-2'", "never changed"),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    let _ = journal.advance(hold.id, Step::End(Ending::Void), at(1)).await.unwrap();
    let error =
        sqlx::query("UPDATE holds SET state = 'pending'").execute(&mut raw).await.unwrap_err().to_string();
    assert!(error.contains("stays ended"), "{error}");
}

/// What the state machine's own docs say of one hold.
#[derive(Debug, Clone)]
struct Model {
    id: HoldId,
    which: u8,
    state: HoldState,
    claim: Option<(Owner, Timestamp)>,
    delivered: bool,
}

impl Model {
    fn live(&self) -> bool {
        match self.state {
            HoldState::Pending | HoldState::Approved | HoldState::Dispatched | HoldState::Unknown => true,
            HoldState::Done => !self.delivered,
            _ => false,
        }
    }

    fn advance(&mut self, step: &Step, now: Timestamp) -> Moved {
        let may = step.from().contains(&self.state)
            && match step {
                Step::Claim { stale_before, .. } => {
                    self.claim.as_ref().is_none_or(|(_, at)| at < stale_before)
                }
                Step::Dispatch { owner } => self.claim.as_ref().is_some_and(|(claimed, _)| claimed == owner),
                Step::Deliver => !self.delivered,
                Step::Finish { .. } | Step::Lose | Step::End(_) | Step::Resolve(_) => true,
            };
        if !may {
            return Moved::No;
        }
        self.state = step.to();
        match step {
            Step::Claim { owner, .. } => self.claim = Some((owner.clone(), now)),
            Step::Deliver => self.delivered = true,
            Step::Dispatch { .. } | Step::Finish { .. } | Step::Lose | Step::End(_) | Step::Resolve(_) => {}
        }
        Moved::Yes
    }
}

#[derive(Debug, Clone)]
enum Action {
    Open(u8),
    Advance(usize, Step),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let owners = || prop::sample::select(vec!["a", "b"]).prop_map(owner);
    let endings = prop::sample::select(vec![
        Ending::Rejected,
        Ending::Expired,
        Ending::Cancelled,
        Ending::ChangesRequested,
        Ending::Void,
    ]);
    prop_oneof![
        4 => (owners(), 0_i64..40).prop_map(|(owner, stale)| Step::Claim { owner, stale_before: at(stale) }),
        4 => owners().prop_map(|owner| Step::Dispatch { owner }),
        3 => any::<bool>().prop_map(|kept| Step::Finish { result: kept.then(|| StoredResult::new(&b"1"[..])) }),
        1 => Just(Step::Lose),
        1 => endings.prop_map(Step::End),
        2 => Just(Step::Deliver),
        1 => prop::sample::select(vec![Resolution::Ran, Resolution::DidNotRun]).prop_map(Step::Resolve),
    ]
}

fn any_action() -> impl Strategy<Value = (usize, Action)> {
    let action = prop_oneof![
        3 => (0_u8..2).prop_map(Action::Open),
        12 => (0_usize..6, any_step()).prop_map(|(hold, step)| Action::Advance(hold, step)),
        1 => Just(Action::Restart),
    ];
    (0_usize..2, action)
}

async fn agrees(journal: &SqliteJournal, model: &[Model]) {
    for which in 0..2 {
        let of: Vec<_> = model.iter().filter(|hold| hold.which == which).collect();
        let live = of.iter().find(|hold| hold.live());
        let Found { live: found, ended } = journal.find(&identity(which)).await.unwrap();
        assert_eq!(ended, of.iter().filter(|hold| !hold.live()).count() as u64);
        assert_eq!(found.as_ref().map(|hold| (hold.id, hold.state)), live.map(|hold| (hold.id, hold.state)));
        assert_eq!(found.and_then(|hold| hold.claim), live.and_then(|hold| hold.claim.clone()));
    }
}

async fn play(actions: Vec<(usize, Action)>) {
    let folder = TempDir::new().unwrap();
    let mut journals = [open(&folder).await, open(&folder).await];
    let mut model: Vec<Model> = Vec::new();
    for (now, (handle, action)) in (0_i64..).zip(actions) {
        match action {
            Action::Open(which) => match journals[handle].open(new_hold(which, now)).await.unwrap() {
                Opened::Mine(hold) => {
                    assert!(!model.iter().any(|other| other.which == which && other.live()));
                    model.push(Model {
                        id: hold.id,
                        which,
                        state: hold.state,
                        claim: None,
                        delivered: false,
                    });
                }
                Opened::Joined(hold) => {
                    assert!(
                        model.iter().any(|other| other.id == hold.id && other.which == which && other.live())
                    );
                }
                Opened::Spent => panic!("each hold of the model has a thread of its own"),
            },
            Action::Advance(hold, step) => {
                let Some(hold) = model.iter_mut().rev().nth(hold) else { continue };
                let moved = journals[handle].advance(hold.id, step.clone(), at(now)).await.unwrap();
                assert_eq!(moved, hold.advance(&step, at(now)), "{step:?}");
            }
            Action::Restart => journals[handle] = open(&folder).await,
        }
        agrees(&journals[0], &model).await;
        agrees(&journals[1], &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done over two handles on one file, both tell what the state machine says.
    #[test]
    fn the_journal_is_its_state_machine(actions in prop::collection::vec(any_action(), 1..60)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(play(actions));
    }
}
