//! A Gate that misbehaves on request, for tests that are not asynchronous themselves.

use anyhow::Result;
use holdpoint_e2e::House;
use holdpoint_testkit::{Endpoint, ScriptedGate};
use std::ops::Deref;
use tokio::runtime::Runtime;

/// Gone when dropped.
pub(crate) struct FakeGate {
    gate: ScriptedGate,
    runtime: Runtime,
}

impl FakeGate {
    /// One that announces long polls, as ours does, and is told to the house.
    pub(crate) fn of(house: &mut House) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let gate = runtime.block_on(ScriptedGate::start());
        gate.announce_long_poll(Some(60));
        house.set_env("STACKSONA_GATE_URL", &gate.url());
        house.set_env("STACKSONA_API_KEY", ScriptedGate::KEY);
        Ok(Self { gate, runtime })
    }

    /// One as the hosted Gate is: no long polls, no feed, and a long while between polls.
    pub(crate) fn unhurried(house: &mut House) -> Result<Self> {
        let gate = Self::of(house)?;
        gate.announce_long_poll(None);
        gate.recommend_poll_after(Some(60));
        Ok(gate)
    }

    pub(crate) fn go_down(&self) {
        self.runtime.block_on(self.gate.go_down());
    }

    pub(crate) fn come_up(&self) {
        self.runtime.block_on(self.gate.come_up());
    }

    pub(crate) fn until_count(&self, endpoint: Endpoint, count: usize) {
        self.runtime.block_on(self.gate.until_count(endpoint, count));
    }

    /// The review of the newest thread, once there are `count` of them.
    pub(crate) fn thread(&self, count: usize) -> String {
        let mut asked = count;
        loop {
            self.until_count(Endpoint::Requests, asked);
            if let Some(thread) = self.gate.threads().get(count - 1) {
                return thread.clone();
            }
            // Recorded before it is answered, and not every request opens a thread.
            asked = self.gate.count(Endpoint::Requests).max(asked);
            std::thread::yield_now();
        }
    }
}

impl Deref for FakeGate {
    type Target = ScriptedGate;

    fn deref(&self) -> &ScriptedGate {
        &self.gate
    }
}
