//! What agents, journals and operators read: each word and each table is a promise.

use holdpoint_core::{
    CallDigest, Decision, EffectKey, EffectState, Ending, EntryName, Flaw, HoldState, Mismatch, Owner, Ran,
    Refusal, Rejection, Resolution, Retry, RiskLevel, Settled, Step, ThreadId, Tokens, Unavailable,
};
use jiff::Timestamp;

#[test]
fn states_have_words_and_no_two_have_the_same() {
    let holds = HoldState::ALL.map(HoldState::as_str);
    assert_eq!(
        holds,
        [
            "pending",
            "approved",
            "dispatched",
            "done",
            "unknown",
            "rejected",
            "expired",
            "cancelled",
            "changes_requested",
            "void",
        ]
    );
    assert_eq!(EffectState::ALL.map(EffectState::as_str), ["taken", "done", "unknown", "void"]);
    let decisions = [
        Decision::Approved,
        Decision::Rejected,
        Decision::Expired,
        Decision::ChangesRequested,
        Decision::OtherPayload,
    ];
    let words = ["approved", "rejected", "expired", "changes_requested", "other_payload"];
    assert_eq!(decisions.map(Decision::as_str), words);
    let risks = [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High, RiskLevel::Critical];
    assert_eq!(risks.map(RiskLevel::as_str), ["low", "medium", "high", "critical"]);
    let tokens = [Tokens::Required, Tokens::Optional, Tokens::Off];
    assert_eq!(tokens.map(Tokens::as_str), ["required", "optional", "off"]);
}

/// The whole state machine of a hold.
#[test]
fn every_step_starts_and_ends_where_the_diagram_says() {
    use HoldState::{Approved, ChangesRequested, Dispatched, Done, Pending, Unknown, Void};
    let owner = || Owner("one".into());
    let end = |ending| Step::End { ending, words: None };
    let open: &[HoldState] = &[Pending, Approved];
    let steps: [(Step, &[HoldState], HoldState); 13] = [
        (Step::Claim { owner: owner(), stale_before: Timestamp::UNIX_EPOCH }, open, Approved),
        (Step::Dispatch { owner: owner() }, &[Approved], Dispatched),
        (Step::Finish { result: None, ran: Ran::Succeeded }, &[Dispatched], Done),
        (Step::Lose, &[Dispatched], Unknown),
        (end(Ending::Rejected), open, HoldState::Rejected),
        (end(Ending::Expired), open, HoldState::Expired),
        (end(Ending::Cancelled), open, HoldState::Cancelled),
        (end(Ending::ChangesRequested), open, ChangesRequested),
        (end(Ending::Void), open, Void),
        (Step::Deliver, &[Done], Done),
        (Step::TakeUp { digest: CallDigest::from_bytes([0; 32]) }, &[ChangesRequested], ChangesRequested),
        (Step::Resolve(Resolution::Ran), &[Dispatched, Unknown], Done),
        (Step::Resolve(Resolution::DidNotRun), &[Dispatched, Unknown], Void),
    ];
    for (step, from, to) in steps {
        assert_eq!((step.from(), step.to()), (from, to), "{step:?}");
    }
}

#[test]
fn an_effect_is_settled_once_and_never_comes_back() {
    use EffectState::{Done, Taken, Unknown, Void};
    for (settled, from, to) in [
        (Settled::Done, &[Taken, Unknown][..], Done),
        (Settled::Unknown, &[Taken], Unknown),
        (Settled::Void, &[Taken, Unknown], Void),
    ] {
        assert_eq!((settled.from(), settled.to()), (from, to));
    }
    let settled: [Settled; 2] = [Resolution::Ran.into(), Resolution::DidNotRun.into()];
    assert_eq!(settled, [Settled::Done, Settled::Void]);
}

/// An ending, its word, the reviewer's words in it, and what to do next.
type Row = (Rejection, &'static str, Option<&'static str>, Retry);

fn thread() -> ThreadId {
    ThreadId::new("THR-1")
}

fn with_words() -> Vec<Row> {
    let message = Some("words".to_owned());
    let (thread, words) = (thread(), Some("words"));
    let rejected = Rejection::Rejected { thread: Some(thread.clone()), message: message.clone() };
    let expired = Rejection::Expired { thread: thread.clone(), message: message.clone() };
    vec![
        (rejected, "rejected", words, Retry::OtherCall),
        (expired, "expired", words, Retry::AskAgain),
        (Rejection::ChangesRequested { thread, message }, "changes_requested", words, Retry::OtherCall),
    ]
}

fn without_words() -> Vec<Row> {
    let (entry, effect) = (EntryName::new("entry"), EffectKey::new("refund:o1"));
    let outright = Rejection::DeniedByConfig { entry: entry.clone(), problem: None };
    let misfit = Rejection::DeniedByConfig { entry, problem: Some("`amount` is missing".into()) };
    let pending = Rejection::Pending { thread: thread(), review_url: Some("https://gate/1".into()) };
    let unavailable = Rejection::Unavailable { what: Unavailable::Ask, thread: Some(thread()) };
    let token = Rejection::TokenInvalid { thread: thread(), flaw: Flaw::Refused(Refusal::Used) };
    let mismatch = |what| Rejection::Mismatch { thread: thread(), what };
    let unknown = Rejection::OutcomeUnknown { thread: Some(thread()), effect: Some(effect.clone()) };
    vec![
        (outright, "denied_by_config", None, Retry::No),
        (misfit, "denied_by_config", None, Retry::OtherCall),
        (Rejection::Rejected { thread: None, message: None }, "rejected", None, Retry::OtherCall),
        (pending, "pending", None, Retry::SameCall),
        (unavailable, "unavailable", None, Retry::AskAgain),
        (token, "token_invalid", None, Retry::AskAgain),
        (mismatch(Mismatch::Definition), "mismatch", None, Retry::AskAgain),
        (mismatch(Mismatch::Payload), "mismatch", None, Retry::AskAgain),
        (mismatch(Mismatch::Configuration), "mismatch", None, Retry::AskAgain),
        (mismatch(Mismatch::Principal), "mismatch", None, Retry::No),
        (Rejection::Cancelled { thread: Some(thread()) }, "cancelled", None, Retry::AskAgain),
        (Rejection::Busy { thread: thread() }, "busy", None, Retry::SameCall),
        (unknown, "outcome_unknown", None, Retry::No),
        (
            Rejection::AlreadyDone { effect: Some(effect), thread: Some(thread()) },
            "already_done",
            None,
            Retry::No,
        ),
    ]
}

/// Whoever reads one sentence only has to know whether it ran.
#[test]
fn every_ending_says_what_it_is_and_what_to_do_next() {
    for (rejection, status, words, retry) in with_words().into_iter().chain(without_words()) {
        assert_eq!((rejection.status(), rejection.message(), rejection.retry()), (status, words, retry));
        let has_thread =
            status != "denied_by_config" && rejection != Rejection::Rejected { thread: None, message: None };
        assert_eq!(rejection.thread().map(ThreadId::as_str), has_thread.then_some("THR-1"), "{rejection:?}");
        assert_eq!(rejection.review_url().is_some(), status == "pending", "{rejection:?}");
        let told = rejection.to_string();
        assert!(words.is_none_or(|words| told.contains(words)), "{told}");
        let says = ["did not run", "has not run", "may have run"].iter().any(|words| told.contains(words));
        assert!(says, "{told}");
        assert_eq!(told.contains("may have run"), status == "outcome_unknown", "{told}");
        let named = matches!(status, "outcome_unknown" | "already_done");
        assert_eq!(told.contains("refund:o1"), named, "{told}");
    }
    let retries = [Retry::SameCall, Retry::AskAgain, Retry::OtherCall, Retry::No].map(Retry::as_str);
    assert_eq!(retries, ["same_call", "ask_again", "other_call", "no"]);
}

/// One status, and yet each flaw of an approval is told apart, by programs and by people.
#[test]
fn each_flaw_of_an_approval_has_a_reason_of_its_own() {
    let flaws = [
        (Flaw::Missing, "token_missing"),
        (Flaw::OtherThread, "token_of_another_review"),
        (Flaw::Expired, "token_expired"),
        (Flaw::Refused(Refusal::Expired), "token_expired"),
        (Flaw::Refused(Refusal::Used), "token_used"),
        (Flaw::Refused(Refusal::Invalid), "token_unknown"),
    ];
    let mut texts = std::collections::BTreeSet::new();
    for (flaw, reason) in flaws {
        let rejection = Rejection::TokenInvalid { thread: thread(), flaw };
        assert_eq!(rejection.reason(), Some(reason));
        assert!(rejection.to_string().contains("did not run"));
        texts.insert(rejection.to_string());
    }
    assert_eq!(texts.len(), 5);
    let changed = [Mismatch::Definition, Mismatch::Payload, Mismatch::Configuration, Mismatch::Principal];
    let reasons = changed.map(|what| Rejection::Mismatch { thread: thread(), what }.reason());
    assert_eq!(
        reasons,
        ["definition_changed", "other_payload", "configuration_changed", "caller_changed"].map(Some)
    );
}
