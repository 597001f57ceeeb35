use std::sync::Arc;
use std::time::Duration;

use super::{agent, decision, later, opened, race, revision, secret, start, task, thread};
use crate::{
    AddRevision, AgentId, AskOutcome, Change, Concerns, DecideOutcome, Decider, Folder, FolderCounts,
    Idempotency, ImageType, LogSeq, NewImage, NewThread, News, OpenOutcome, OpenState, RevisionEffect,
    RevisionId, RevisionOutcome, Store, ThreadId, ThreadQuery, ThreadState, VerdictKind,
};

fn revised(agent: AgentId, thread: &ThreadId, id: &str, payload: &str) -> AddRevision {
    AddRevision {
        agent_id: agent,
        task_id: task("task-1"),
        thread_id: thread.clone(),
        revision: revision(id, payload),
        body_digest: [u8::try_from(payload.len()).unwrap(); 32],
        event_summary: "changed".to_owned(),
        images: vec![NewImage { image_type: ImageType::Gif, bytes: vec![7] }],
        effect: RevisionEffect::Keep,
        now: later(5),
    }
}

pub(super) async fn what_was_opened_is_read_back(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let mut new = thread(agent, "THR-1");
    new.images = vec![NewImage { image_type: ImageType::Jpeg, bytes: vec![9] }];
    new.expires_at = Some(later(60));
    new.state = OpenState::Escalated;
    let id = opened(&*store, new.clone()).await;
    let read = store.thread(&id).await.unwrap().unwrap();
    assert_eq!(read.state, ThreadState::Open(OpenState::Escalated));
    assert_eq!((read.agent_name.as_str(), &read.task_id), ("one", &task("task-1")));
    assert_eq!((read.opened_at, read.expires_at, read.feedback), (start(), Some(later(60)), None));
    assert_eq!(read.revision, new.revision);
    assert_eq!(store.revisions(&id).await.unwrap(), [new.revision]);
    assert_eq!(store.images_of(&id, &RevisionId::new("r1")).await.unwrap().len(), 1);
    assert_eq!(store.thread_of(agent, &id).await.unwrap().unwrap().id, id);
    assert_eq!(store.latest_thread(agent, &task("task-1")).await.unwrap().unwrap().id, id);
    let second = opened(&*store, thread(agent, "THR-2")).await;
    assert_eq!(store.latest_thread(agent, &task("task-1")).await.unwrap().unwrap().id, second);
}

pub(super) async fn ids_are_taken_once(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    opened(&*store, thread(agent, "THR-1")).await;
    let idempotency = Idempotency { key: "k".to_owned(), body_digest: [1; 32], answer: "THR-1".to_owned() };
    let again = NewThread { idempotency: Some(idempotency.clone()), ..thread(agent, "THR-1") };
    assert_eq!(store.open_thread(again.clone()).await.unwrap(), OpenOutcome::IdTaken);
    let longer = NewThread { id: ThreadId::new("THR-11"), ..again };
    assert_eq!(store.open_thread(longer).await.unwrap(), OpenOutcome::Opened, "the key was not used up");
}

pub(super) async fn repeated_requests_open_one_thread(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let request = move |racer: usize, body: u8| NewThread {
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            body_digest: [body; 32],
            answer: format!("answer {racer}"),
        }),
        ..thread(agent, &format!("THR-{racer}"))
    };
    let outcomes = race(|racer| {
        let store = Arc::clone(&store);
        async move { store.open_thread(request(racer, 1)).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == OpenOutcome::Opened).count(), 1);
    assert_eq!(store.folder_counts().await.unwrap(), FolderCounts { open: 1, ..FolderCounts::default() });
    assert_eq!(store.open_thread(request(1000, 2)).await.unwrap(), OpenOutcome::KeyConflict);
}

pub(super) async fn other_agents_see_nothing(store: Arc<dyn Store>) {
    let (one, two) = (agent(&*store, "one").await, agent(&*store, "two").await);
    let id = opened(&*store, thread(one, "THR-1")).await;
    assert!(store.thread_of(two, &id).await.unwrap().is_none());
    assert!(store.latest_thread(two, &task("task-1")).await.unwrap().is_none());
    assert!(store.timeline(two, &task("task-1"), 10).await.unwrap().is_empty());
    let foreign = store.add_revision(revised(two, &id, "r2", "{}")).await.unwrap();
    assert_eq!(foreign, RevisionOutcome::NotFound);
    let other_task = AddRevision { task_id: task("task-2"), ..revised(one, &id, "r2", "{}") };
    assert_eq!(store.add_revision(other_task).await.unwrap(), RevisionOutcome::NotFound);
    assert!(store.thread(&ThreadId::new("THR-2")).await.unwrap().is_none());
}

pub(super) async fn one_of_many_deciders_wins(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    let outcomes = race(|racer| {
        let (store, id) = (Arc::clone(&store), id.clone());
        let kind = if racer % 2 == 0 { VerdictKind::Approve } else { VerdictKind::Reject };
        async move { store.decide(decision(&id, "r1", kind, &format!("reviewer {racer}"))).await.unwrap() }
    })
    .await;
    let won: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, DecideOutcome::Won(_))).collect();
    let [DecideOutcome::Won(winner)] = won.as_slice() else { panic!("{} won", won.len()) };
    for outcome in &outcomes {
        match outcome {
            DecideOutcome::Won(thread) | DecideOutcome::AlreadyDecided(thread) => assert_eq!(thread, winner),
            DecideOutcome::Revised(_) | DecideOutcome::NotFound => panic!("{outcome:?}"),
        }
    }
    let read = store.thread(&id).await.unwrap().unwrap();
    assert_eq!(read, **winner);
    let (ThreadState::Approved(verdict) | ThreadState::Rejected(verdict)) = read.state else {
        panic!("undecided")
    };
    assert_eq!((verdict.at, verdict.revision_id), (later(10), RevisionId::new("r1")));
    let nobody =
        store.decide(decision(&ThreadId::new("THR-2"), "r1", VerdictKind::Approve, "x")).await.unwrap();
    assert_eq!(nobody, DecideOutcome::NotFound);
}

pub(super) async fn a_decision_is_on_the_revision_seen(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    assert_eq!(store.add_revision(revised(agent, &id, "r2", "{}")).await.unwrap(), RevisionOutcome::Added);
    let late = store.decide(decision(&id, "r1", VerdictKind::Approve, "ann")).await.unwrap();
    assert!(matches!(late, DecideOutcome::Revised(thread) if thread.revision.id == RevisionId::new("r2")));
    let never = store.decide(decision(&id, "r9", VerdictKind::Approve, "ann")).await.unwrap();
    assert!(matches!(never, DecideOutcome::Revised(_)));
    let won = store.decide(decision(&id, "r2", VerdictKind::Approve, "ann")).await.unwrap();
    let DecideOutcome::Won(thread) = won else { panic!("{won:?}") };
    let ThreadState::Approved(verdict) = thread.state else { panic!("{:?}", thread.state) };
    assert_eq!(verdict.revision_id, RevisionId::new("r2"));
    assert_eq!(
        (verdict.by, verdict.note.as_deref()),
        (Decider::Person("ann".to_owned()), Some("ann says so"))
    );
}

pub(super) async fn revisions_supersede(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    let add = async |revision| store.add_revision(revision).await.unwrap();
    assert_eq!(add(revised(agent, &id, "r2", "{}")).await, RevisionOutcome::Added);
    assert_eq!(add(revised(agent, &id, "r2", "{}")).await, RevisionOutcome::Repeated);
    assert_eq!(add(revised(agent, &id, "r2", "{ }")).await, RevisionOutcome::Conflict);
    assert_eq!(
        add(revised(agent, &id, "r1", "{}")).await,
        RevisionOutcome::Conflict,
        "the first is not the agent's"
    );
    let escalate = AddRevision { effect: RevisionEffect::Escalate, ..revised(agent, &id, "r3", "[]") };
    assert_eq!(add(escalate).await, RevisionOutcome::Added);
    let read = store.thread(&id).await.unwrap().unwrap();
    assert_eq!(read.state, ThreadState::Open(OpenState::Escalated));
    assert_eq!((read.revision.id.as_str(), read.revision.number, read.revision.made_at), ("r3", 3, later(5)));
    let keep = revised(agent, &id, "r4", "[]");
    assert_eq!(add(keep).await, RevisionOutcome::Added);
    assert_eq!(store.thread(&id).await.unwrap().unwrap().state, ThreadState::Open(OpenState::Escalated));
    let numbers: Vec<_> =
        store.revisions(&id).await.unwrap().iter().map(|revision| revision.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    store.decide(decision(&id, "r4", VerdictKind::Reject, "ann")).await.unwrap();
    assert!(matches!(
        add(revised(agent, &id, "r5", "{}")).await,
        RevisionOutcome::Closed(ThreadState::Rejected(_))
    ));
    assert_eq!(store.revisions(&id).await.unwrap().len(), 4, "a closed thread is left alone");
}

pub(super) async fn a_revision_the_rules_refuse_closes_the_thread(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    let effect = RevisionEffect::Reject { note: "over the limit".to_owned() };
    let outcome =
        store.add_revision(AddRevision { effect, ..revised(agent, &id, "r2", "{}") }).await.unwrap();
    assert_eq!(outcome, RevisionOutcome::Added);
    let ThreadState::Rejected(verdict) = store.thread(&id).await.unwrap().unwrap().state else {
        panic!("open")
    };
    assert_eq!((verdict.by, verdict.note.as_deref()), (Decider::Rules, Some("over the limit")));
    assert_eq!((verdict.at, verdict.revision_id.as_str()), (later(5), "r2"));
}

pub(super) async fn asking_for_changes(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    let ask = async |revision: &str| {
        store
            .ask_for_changes(&id, &RevisionId::new(revision), "ann", "smaller, please", later(1))
            .await
            .unwrap()
    };
    assert!(
        matches!(ask("r1").await, AskOutcome::Asked(thread) if thread.feedback.as_deref() == Some("smaller, please"))
    );
    store.add_revision(revised(agent, &id, "r2", "{}")).await.unwrap();
    assert_eq!(store.thread(&id).await.unwrap().unwrap().feedback, None, "the wish was granted");
    assert!(matches!(ask("r1").await, AskOutcome::Revised(_)));
    assert!(matches!(ask("r2").await, AskOutcome::Asked(_)));
    store.decide(decision(&id, "r2", VerdictKind::Approve, "bob")).await.unwrap();
    assert!(matches!(ask("r2").await, AskOutcome::AlreadyDecided(_)));
    let nobody =
        store.ask_for_changes(&ThreadId::new("x"), &RevisionId::new("r"), "a", "b", start()).await.unwrap();
    assert_eq!(nobody, AskOutcome::NotFound);
}

pub(super) async fn what_is_overdue_expires(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let until = |id: &str, seconds| NewThread { expires_at: Some(later(seconds)), ..thread(agent, id) };
    let early = opened(&*store, until("THR-1", 5)).await;
    let swept = opened(&*store, until("THR-2", 20)).await;
    let decided = opened(&*store, until("THR-3", 20)).await;
    let patient = opened(&*store, thread(agent, "THR-4")).await;
    // Nobody swept, and yet a decision at 10 s comes too late for what expired at 5 s.
    let late = store.decide(decision(&early, "r1", VerdictKind::Approve, "ann")).await.unwrap();
    assert!(
        matches!(late, DecideOutcome::AlreadyDecided(thread) if thread.state == ThreadState::Expired { at: later(10) })
    );
    let won = store.decide(decision(&decided, "r1", VerdictKind::Approve, "ann")).await.unwrap();
    assert!(matches!(won, DecideOutcome::Won(_)));
    assert!(store.expire_due(later(19)).await.unwrap().is_empty());
    assert_eq!(store.expire_due(later(20)).await.unwrap(), std::slice::from_ref(&swept));
    assert!(store.expire_due(later(21)).await.unwrap().is_empty());
    assert_eq!(store.thread(&swept).await.unwrap().unwrap().state, ThreadState::Expired { at: later(20) });
    let state = store.thread(&patient).await.unwrap().unwrap().state;
    assert_eq!(state, ThreadState::Open(OpenState::NeedsReview));
    let overdue = opened(&*store, NewThread { now: later(1), ..until("THR-5", 2) }).await;
    let revision = store.add_revision(revised(agent, &overdue, "r2", "{}")).await.unwrap();
    assert!(matches!(revision, RevisionOutcome::Closed(ThreadState::Expired { .. })));
}

pub(super) async fn folders_search_and_order(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    for (id, subject, state) in [
        ("THR-1", "50% off_by", OpenState::NeedsReview),
        ("THR-2", "Urgent", OpenState::Escalated),
        ("THR-3", "plain", OpenState::NeedsReview),
        ("THR-4", "gone", OpenState::NeedsReview),
    ] {
        let mut new = NewThread { state, ..thread(agent, id) };
        new.revision.subject = subject.to_owned();
        opened(&*store, new).await;
    }
    store.decide(decision(&ThreadId::new("THR-4"), "r1", VerdictKind::Reject, "ann")).await.unwrap();
    let list = async |folder, search: &str, limit| {
        let query = ThreadQuery { folder, search: search.to_owned(), limit };
        let threads = store.list_threads(&query).await.unwrap();
        threads.into_iter().map(|thread| thread.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(Folder::Open, "", 10).await, ["THR-2", "THR-3", "THR-1"]);
    assert_eq!(list(Folder::Open, "", 1).await, ["THR-2"]);
    assert_eq!(list(Folder::Rejected, "", 10).await, ["THR-4"]);
    assert_eq!(list(Folder::All, "", 10).await, ["THR-2", "THR-4", "THR-3", "THR-1"]);
    assert!(list(Folder::Approved, "", 10).await.is_empty());
    assert!(list(Folder::Expired, "", 10).await.is_empty());
    assert_eq!(list(Folder::Open, "0% OFF_", 10).await, ["THR-1"]);
    assert_eq!(list(Folder::Open, "%", 10).await, ["THR-1"], "a percent sign stands for itself");
    assert_eq!(list(Folder::Open, "thr-3", 10).await, ["THR-3"]);
    assert_eq!(list(Folder::Open, "one", 10).await.len(), 3, "found by the agent's name");
    let counts = store.folder_counts().await.unwrap();
    assert_eq!(counts, FolderCounts { open: 3, escalated: 1, rejected: 1, ..FolderCounts::default() });
}

pub(super) async fn the_timeline_tells_the_story(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    store.ask_for_changes(&id, &RevisionId::new("r1"), "ann", "smaller", later(1)).await.unwrap();
    store.add_revision(revised(agent, &id, "r2", "{}")).await.unwrap();
    store.decide(decision(&id, "r2", VerdictKind::Approve, "ann")).await.unwrap();
    store.decide(decision(&id, "r2", VerdictKind::Reject, "bob")).await.unwrap();
    let told = async |limit| {
        let rows = store.timeline(agent, &task("task-1"), limit).await.unwrap();
        rows.iter().map(|row| row.entry.kind()).collect::<Vec<_>>()
    };
    assert_eq!(told(10).await, ["thread_opened", "changes_requested", "revised", "approved"]);
    assert_eq!(told(2).await, ["revised", "approved"], "the newest are kept");
}

pub(super) async fn the_bell_rings_after_the_commit(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = opened(&*store, thread(agent, "THR-1")).await;
    opened(&*store, thread(agent, "THR-2")).await;
    let (mut all, mut one) = (store.bell().listen(), store.bell().listen_to_thread(&id));
    let other = decision(&ThreadId::new("THR-2"), "r1", VerdictKind::Approve, "ann");
    let (deciding, waiting) = (Arc::clone(&store), Arc::clone(&store));
    let (thread_id, seen) = (id.clone(), id.clone());
    let waiter = tokio::spawn(async move {
        one.rung().await;
        waiting.thread(&seen).await.unwrap().unwrap().state
    });
    deciding.decide(other).await.unwrap();
    deciding.decide(decision(&thread_id, "r1", VerdictKind::Approve, "ann")).await.unwrap();
    assert!(
        matches!(waiter.await.unwrap(), ThreadState::Approved(_)),
        "it rang before the decision could be read"
    );
    let concerns = Concerns::Agent;
    for id in [ThreadId::new("THR-2"), id] {
        assert_eq!(all.next().await, Some(Change::Thread { id, agent, concerns }));
    }
}

pub(super) async fn an_agent_hears_of_its_news_and_reads_it(store: Arc<dyn Store>) {
    let (one, two) = (agent(&*store, "one").await, agent(&*store, "two").await);
    let start = store.log_end().await.unwrap();
    assert!(start > LogSeq(0), "making an agent is on record");
    let news = async |after, limit| store.news(one, after, limit).await.unwrap();
    let id = opened(&*store, thread(one, "THR-1")).await;
    let mut late = thread(one, "THR-2");
    late.expires_at = Some(later(5));
    let (late, other) = (opened(&*store, late).await, opened(&*store, thread(two, "THR-3")).await);
    assert_eq!(news(start, 10).await, News { threads: Vec::new(), up_to: start }, "opening is no news");

    let mut ear = store.bell().listen_to_agent(one);
    store.ask_for_changes(&id, &RevisionId::new("r1"), "ann", "less", later(1)).await.unwrap();
    ear.rung().await;
    let asked = news(start, 10).await;
    assert_eq!(asked.threads, std::slice::from_ref(&id));
    assert!(asked.up_to > start);
    store.add_revision(revised(one, &id, "r2", "{}")).await.unwrap();
    ear.rung().await;
    store.expire_due(later(6)).await.unwrap();
    ear.rung().await;
    store.decide(decision(&id, "r2", VerdictKind::Approve, "ann")).await.unwrap();
    ear.rung().await;
    let all = news(asked.up_to, 10).await;
    assert_eq!(all.threads, [id.clone(), late.clone()], "each once");
    assert_eq!(news(all.up_to, 10).await, News { threads: Vec::new(), up_to: all.up_to });

    let hash = secret("token");
    store.mint_token(one, &id, hash, Duration::from_mins(1), later(11)).await.unwrap();
    store.redeem_token(one, &task("task-1"), hash, later(12)).await.unwrap();
    store.decide(decision(&other, "r1", VerdictKind::Reject, "ann")).await.unwrap();
    assert_eq!(
        news(all.up_to, 10).await.threads,
        [],
        "neither a used token nor another agent's thread is news"
    );
    let quiet = tokio::time::timeout(Duration::from_millis(50), ear.rung()).await;
    assert!(quiet.is_err(), "nor do they ring");
    assert_eq!(store.news(two, start, 10).await.unwrap().threads, [other]);

    let mut paged = Vec::new();
    let mut after = start;
    loop {
        let page = news(after, 1).await;
        if page.threads.is_empty() {
            assert_eq!(page.up_to, after);
            break;
        }
        after = page.up_to;
        paged.extend(page.threads);
    }
    assert_eq!(paged, [id.clone(), id.clone(), late, id], "one line at a time, nothing is missed");
    assert!(store.log_end().await.unwrap() > after);
}
