//! What is different when each call waits for a person, and the person.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use holdpoint_e2e::{Admin, House};

use super::text;

/// So long each call is held.
const HELD: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A check that cannot come out alike.
pub(super) struct Difference {
    scenario: &'static str,
    check: &'static str,
    held: &'static str,
}

impl Difference {
    pub(super) fn as_found(&self) -> ((String, String), (Vec<String>, Vec<String>)) {
        let key = (self.scenario.to_owned(), self.check.to_owned());
        (key, (vec!["SUCCESS".to_owned()], vec![self.held.to_owned()]))
    }
}

/// Each with its reason; an entry that no longer differs fails the test.
pub(super) const STATELESS: &[Difference] = &[
    // The suite closes the stream after 600 ms, which withdraws the call: 900 ms before it is approved.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-http-server-no-independent-requests-on-stream HttpServerNoIndependentRequestsOnStream",
        held: "FAILURE",
    },
    // The same after 500 ms.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-no-log-without-loglevel ServerNoLogWithoutLogLevel",
        held: "FAILURE",
    },
    // The suite listens for 1.5 s to what a tool changes that is not allowed to run before.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-sends-prompts-list-changed-on-subscription ServerSendsPromptsListChangedOnSubscription",
        held: "WARNING",
    },
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-sends-tools-list-changed-on-subscription ServerSendsToolsListChangedOnSubscription",
        held: "WARNING",
    },
    // The tool's own refusal comes when the stream has been open for half a second, and its status is 200 by then. The
    // error in it is the same, which the check before this one sees.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-missing-capability-http-400 MissingCapabilityHttp400",
        held: "FAILURE",
    },
];

/// Approves everything, after a while. Stops when dropped.
pub(super) struct Reviewer {
    approvals: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    at_work: Option<JoinHandle<()>>,
}

impl Reviewer {
    pub(super) fn at_work(house: &House) -> Result<Self> {
        let admin = Admin::of(house)?;
        let (approvals, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let at_work = std::thread::spawn({
            let (approvals, stop) = (Arc::clone(&approvals), Arc::clone(&stop));
            move || {
                let mut seen = HashMap::new();
                while !stop.load(Ordering::SeqCst) {
                    if let Err(error) = look(&admin, &mut seen, &approvals) {
                        eprintln!("the reviewer: {error:#}");
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        });
        Ok(Self { approvals, stop, at_work: Some(at_work) })
    }

    /// How many calls were approved.
    pub(super) fn approvals(&self) -> usize {
        self.approvals.load(Ordering::SeqCst)
    }
}

impl Drop for Reviewer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(at_work) = self.at_work.take() {
            let _ended = at_work.join();
        }
    }
}

fn look(admin: &Admin, seen: &mut HashMap<String, Instant>, approvals: &AtomicUsize) -> Result<()> {
    for thread in admin.open()? {
        let id = text(&thread, "thread_id");
        if seen.entry(id.clone()).or_insert_with(Instant::now).elapsed() < HELD {
            continue;
        }
        // Counted first: a tool may run before we are told that it may.
        approvals.fetch_add(1, Ordering::SeqCst);
        admin.approve(&id)?;
    }
    Ok(())
}
