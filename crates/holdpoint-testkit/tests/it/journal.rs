//! The journal in memory.

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_core::{Journal, Owner};
use holdpoint_store::conformance::journal::{Processes, run};
use holdpoint_testkit::{MemoryJournal, check_journal};

/// Processes that share a memory.
#[derive(Debug, Default)]
struct InMemory(Arc<MemoryJournal>);

#[async_trait]
impl Processes for InMemory {
    async fn start(&self, _: &Owner) -> Arc<dyn Journal> {
        Arc::clone(&self.0) as Arc<dyn Journal>
    }

    async fn end(&self, owner: &Owner) {
        self.0.bury(&owner.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    run(async || InMemory::default()).await;
}

#[test]
fn the_journal_is_its_model() {
    check_journal::<InMemory>(256);
}
