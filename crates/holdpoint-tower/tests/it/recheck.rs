//! What was true when Gate was asked must still be true when the call runs.

use crate::house::{House, PATIENCE, Says, asking, mark, pay, refund};
use holdpoint_core::{
    Caller, DefinitionDigest, HeldCall, HoldState, Journal as _, Principal, Standing, StillThere, Tokens,
    ToolCall,
};
use holdpoint_testkit::{FixedDefinitions, Verdict};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Edits the configuration while `call` waits, approves, and says what came of it.
async fn edited(call: &ToolCall, edit: impl FnOnce(&House)) -> (House, String) {
    let house = House::new();
    let held = house.spawn(call.clone());
    house.approver.until_waiting(1).await;
    edit(&house);
    house.approver.decide_all(Verdict::Approve);
    let told = held.await.unwrap();
    (house, told)
}

type Edit = fn(&House);
type Damage = fn(&mut HeldCall);

#[tokio::test(start_paused = true)]
async fn an_edit_that_makes_something_else_of_the_call_lets_nothing_run() {
    let edits: [(&str, Edit, &str); 9] = [
        ("denies", |house| house.policy.edit(|terms| terms.says = Says::Deny), "denied_by_config"),
        ("does not fit", |house| house.policy.edit(|terms| terms.says = Says::Misfit), "denied_by_config"),
        ("passes", |house| house.policy.edit(|terms| terms.says = Says::Pass), "mismatch"),
        ("passes once", |house| house.policy.edit(|terms| terms.says = Says::PassOnce), "mismatch"),
        (
            "asks something else",
            |house| house.policy.edit(|terms| terms.subject = "other".into()),
            "mismatch",
        ),
        ("tokens off", |house| house.policy.edit(|terms| terms.tokens = Tokens::Off), "mismatch"),
        ("tokens optional", |house| house.policy.edit(|terms| terms.tokens = Tokens::Optional), "mismatch"),
        ("another effect", |house| house.policy.edit(|terms| terms.effect_named = Some("other")), "mismatch"),
        ("no effect", |house| house.policy.edit(|terms| terms.effect_named = None), "mismatch"),
    ];
    for (what, edit, status) in edits {
        let (house, told) = edited(&refund("o1", 1), edit).await;
        assert!(told.starts_with(status), "{what}: {told}");
        assert_eq!((house.approver.redeemed().len(), house.ran().len()), (0, 0), "{what}");
        assert_eq!(house.journal.states(), [HoldState::Void], "{what}");
        assert!(house.journal.runs().is_empty(), "{what}");
        // Asked anew on the new terms; the approval of the old ones is gone.
        house.policy.edit(|terms| terms.says = Says::AsWritten);
        assert_eq!(house.call(refund("o1", 1)).await, "ran refund", "{what}");
        assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 1), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_leaves_the_question_as_it_was_changes_nothing() {
    let edits: [(&str, Edit); 3] = [
        ("a revision", |house| house.policy.edit(|terms| terms.revision = "r2".into())),
        ("patience", |house| house.policy.edit(|terms| terms.patience = Some(Duration::from_secs(1)))),
        ("there and back", |house| {
            house.policy.edit(|terms| terms.says = Says::Deny);
            house.policy.edit(|terms| terms.says = Says::AsWritten);
        }),
    ];
    for (what, edit) in edits {
        let (house, told) = edited(&refund("o1", 1), edit).await;
        assert_eq!((&*told, house.ran().len()), ("ran refund", 1), "{what}");
        assert_eq!(house.approver.opened().len(), 1, "{what}");
    }
}

/// Whoever joins after the edit has the new terms in hand; the hold has the old ones.
#[tokio::test(start_paused = true)]
async fn joining_on_other_terms_refuses() {
    let edits: [(&str, Edit); 4] = [
        ("asks something else", |house| house.policy.edit(|terms| terms.subject = "other".into())),
        ("tokens off", |house| house.policy.edit(|terms| terms.tokens = Tokens::Off)),
        ("another effect", |house| house.policy.edit(|terms| terms.effect_named = Some("other"))),
        ("no effect", |house| house.policy.edit(|terms| terms.effect_named = None)),
    ];
    for (what, edit) in edits {
        let house = House::with(Tokens::Required, Some(Duration::from_secs(5)));
        assert!(house.call(refund("o1", 1)).await.starts_with("pending"), "{what}");
        edit(&house);
        house.approver.decide_all(Verdict::Approve);
        assert!(house.call(refund("o1", 1)).await.starts_with("mismatch"), "{what}");
        assert_eq!((house.approver.redeemed().len(), house.ran().len()), (0, 0), "{what}");
    }
}

/// The configuration was edited while this call was on its way, and is back again when it is looked at: what this call
/// took in its hands is not what was asked.
#[tokio::test(start_paused = true)]
async fn terms_that_changed_twice_do_not_lend_each_other_their_approvals() {
    let edits: [(&str, Edit); 2] = [
        ("tokens", |house| house.policy.edit(|terms| terms.tokens = Tokens::Off)),
        ("effect", |house| house.policy.edit(|terms| terms.effect_named = None)),
    ];
    for (what, edit) in edits {
        let house = House::with(Tokens::Required, Some(Duration::from_mins(1)));
        let asked = house.spawn(refund("o1", 1));
        house.approver.until_waiting(1).await;
        asked.abort();
        house.approver.until_waiting(0).await;
        let before = house.policy.terms();
        edit(&house);
        let joins = house.spawn(refund("o1", 1));
        house.approver.until_waiting(1).await;
        house.policy.edit(|terms| *terms = before);
        house.approver.decide_all(Verdict::ApproveWith { token: None, expires_at: None, thread: None });
        let told = joins.await.unwrap();
        assert!(told.starts_with("mismatch") || told.starts_with("token_invalid"), "{what}: {told}");
        assert_eq!(house.ran().len(), 0, "{what}");
    }
}

/// A hold of an older version knows only which configuration was in force.
#[tokio::test(start_paused = true)]
async fn a_hold_without_a_question_binds_to_the_whole_configuration() {
    for (revision, runs) in [("r1", 1), ("r2", 0)] {
        let house = House::with(Tokens::Required, Some(Duration::from_secs(5)));
        assert!(house.call(pay(1)).await.starts_with("pending"));
        house.journal.tamper(|held: &mut HeldCall| held.question = None);
        house.policy.edit(|terms| terms.revision = revision.into());
        house.approver.decide_all(Verdict::Approve);
        let told = house.call(pay(1)).await;
        assert_eq!(told.starts_with("mismatch"), runs == 0, "{told}");
        assert_eq!(house.ran().len(), runs);
    }
}

/// A journal that was tampered with, or is mistaken about whose hold it hands out, does not get an approval of one call
/// to run another.
#[tokio::test(start_paused = true)]
async fn a_hold_that_is_not_the_calls_own_lets_nothing_run() {
    let damage: [(&str, Damage); 3] = [
        ("other arguments", |held| held.arguments = Some(r#"{"amount":1000000}"#.into())),
        ("no arguments", |held| held.arguments = None),
        ("no JSON", |held| held.arguments = Some("{".into())),
    ];
    for (what, damage) in damage {
        let house = House::with(Tokens::Off, Some(Duration::from_secs(5)));
        assert!(house.call(pay(1)).await.starts_with("pending"));
        house.journal.tamper(damage);
        house.approver.decide_all(Verdict::Approve);
        let told = house.call(pay(1)).await;
        assert!(told.starts_with("unavailable"), "{what}: {told}");
        assert_eq!(house.ran().len(), 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_definition_is_read_once_more_for_each_approval_and_not_for_calls_that_need_nobody() {
    let definition = DefinitionDigest::from_bytes([1; 32]);
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let definitions = Arc::new(FixedDefinitions::new(Some(definition)));
    let caller = || Caller { definitions: Some(definitions.clone()), ..Caller::staying(PATIENCE) };
    for runs in 1..=2 {
        let call = ToolCall { definition: Some(definition), ..pay(1) };
        assert_eq!(house.call_as(call, caller()).await, "ran pay");
        assert_eq!(definitions.reads(), runs);
    }
    assert_eq!(house.call_as(mark("o1"), caller()).await, "ran mark");
    assert_eq!((definitions.reads(), house.ran().len()), (2, 3));
}

/// A tool that had no definition when Gate was asked, and has none now, in a place where tools have them.
#[tokio::test(start_paused = true)]
async fn a_tool_whose_definition_cannot_be_told_does_not_run() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let definitions = Arc::new(FixedDefinitions::new(None));
    let caller = Caller { definitions: Some(definitions), ..Caller::staying(PATIENCE) };
    assert!(house.call_as(pay(1), caller).await.starts_with("mismatch"));
    assert_eq!(house.ran().len(), 0);
}

/// Whether a key still opens.
#[derive(Debug)]
struct Keys {
    answer: StillThere,
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Standing for Keys {
    async fn is_still(&self, principal: &Principal) -> StillThere {
        assert_eq!(principal.as_str(), "local");
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_key_was_revoked_meanwhile_runs_nothing() {
    for (answer, runs) in [(StillThere::Yes, 1), (StillThere::No, 0)] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        let keys = Arc::new(Keys { answer, asked: AtomicUsize::new(0) });
        let caller = Caller { standing: Some(keys.clone()), ..Caller::staying(PATIENCE) };
        let told = house.call_as(pay(1), caller).await;
        assert_eq!(told.starts_with("mismatch: The caller's access changed"), runs == 0, "{told}");
        assert_eq!((house.approver.redeemed().len(), house.ran().len()), (runs, runs));
        assert_eq!(keys.asked.load(Ordering::SeqCst), 1);
    }
}

/// What is refused here is refused to the neighbour's runs as well only if it was not faster: its claim stands.
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_take_away_what_a_neighbour_has_claimed() {
    use holdpoint_core::{Clock as _, Moved, Owner, Step};
    let house = House::new();
    let held = house.spawn_as(refund("o1", 1), asking(&crate::house::ScriptedProbe::saying(None)));
    house.approver.until_waiting(1).await;
    let (id, now) = (house.journal.holds().remove(0).id, house.clock.now());
    let owner = Owner("two".into());
    let claim = Step::Claim { owner: owner.clone(), stale_before: now };
    assert_eq!(house.journal.advance(id, claim, now).await.unwrap(), Moved::Yes);
    // The neighbour has used the token up, so that this reading brings none.
    house.approver.decide_all(Verdict::ApproveWith { token: None, expires_at: None, thread: None });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.journal.states(), [HoldState::Approved]);
    let dispatch = house.journal.advance(id, Step::Dispatch { owner }, house.clock.now()).await.unwrap();
    assert_eq!(dispatch, Moved::Yes, "the approval is not lost");
    house.journal.bury("two");
    assert!(held.await.unwrap().starts_with("outcome_unknown"));
    assert_eq!(house.ran().len(), 0);
}
