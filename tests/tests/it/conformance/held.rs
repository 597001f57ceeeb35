//! What is different when each call waits for a person, and the person.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use holdpoint_e2e::{Admin, House};

use super::suite::Difference;
use super::text;

/// So long each call is held.
const HELD: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Each with its reason; an entry that no longer differs fails the test.
pub(super) const STATELESS: &[Difference] = &[
    // The suite closes the stream after 600 ms, which withdraws the call: 900 ms before it is approved.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-http-server-no-independent-requests-on-stream HttpServerNoIndependentRequestsOnStream",
        instead: &["FAILURE"],
    },
    // The same after 500 ms.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-no-log-without-loglevel ServerNoLogWithoutLogLevel",
        instead: &["FAILURE"],
    },
    // The suite listens for 1.5 s to what a tool changes that is not allowed to run before.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-sends-prompts-list-changed-on-subscription ServerSendsPromptsListChangedOnSubscription",
        instead: &["WARNING"],
    },
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-server-sends-tools-list-changed-on-subscription ServerSendsToolsListChangedOnSubscription",
        instead: &["WARNING"],
    },
    // The tool's own refusal comes when the stream has been open for half a second, and its status is 200 by then. The
    // error in it is the same, which the check before this one sees.
    Difference {
        scenario: "server-stateless",
        check: "sep-2575-missing-capability-http-400 MissingCapabilityHttp400",
        instead: &["FAILURE"],
    },
];

/// What a call that waits as a task is: the suite knows these tools as ones that answer at once, and calls them as a client
/// that takes tasks. Whether a call of such a client becomes one is the server's to say (SEP-2663), and is ours where a
/// person has to decide.
pub(super) const AS_A_TASK: &[Difference] = &[
    Difference {
        scenario: "tasks-lifecycle",
        check: "tasks-sync-tool-call TasksSyncToolCall",
        instead: &["FAILURE"],
    },
    Difference {
        scenario: "tasks-dispatch-and-envelope",
        check: "tasks-result-type-complete-on-non-task-responses TasksResultTypeCompleteOnNonTaskResponses",
        instead: &["FAILURE"],
    },
    // The client declares the extension as well: it is not the old parameter that makes it a task.
    Difference {
        scenario: "tasks-dispatch-and-envelope",
        check: "sep-2663-legacy-task-param-ignored TasksLegacyTaskParamIgnored",
        instead: &["FAILURE"],
    },
    // What the tool asks for comes when it runs; until then the task works.
    Difference {
        scenario: "tasks-mrtr-composition",
        check: "sep-2663-mrtr-synchronous-before-task-creation Sep2663MrtrSynchronousBeforeTaskCreation",
        instead: &["FAILURE"],
    },
    Difference {
        scenario: "tasks-request-headers",
        check: "tasks-headers-tolerate-mcp-method-on-tools-call TasksHeadersTolerateMcpMethodOnToolsCall",
        instead: &["FAILURE"],
    },
];

/// What a session with a child is when its calls are held: they are answered in streams then, which cannot be taken up again.
/// The suite warns of that; the call itself can, by sending it again.
pub(super) const AS_OUR_CHILD: &[Difference] = &[
    Difference {
        scenario: "server-sse-polling",
        check: "server-sse-priming-event ServerSendsPrimingEvent",
        instead: &["WARNING"],
    },
    Difference {
        scenario: "server-sse-polling",
        check: "server-sse-retry-field ServerSendsRetryField",
        instead: &["WARNING"],
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
