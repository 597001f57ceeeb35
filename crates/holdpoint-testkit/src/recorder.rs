use crate::{ScriptedFault, lock};
use async_trait::async_trait;
use holdpoint_core::{Event, RecordError, Recorder};
use std::{collections::HashSet, sync::Mutex};

/// Remembers every step as text, and fails where it is told to.
#[derive(Debug, Default)]
pub struct MemoryRecorder(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    steps: Vec<String>,
    fails: HashSet<String>,
}

impl MemoryRecorder {
    /// Nothing is recorded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every step of this name fail from now on. Names are those of [`holdpoint_core::What`].
    pub fn fail(&self, step: &str) {
        lock(&self.0).fails.insert(step.to_owned());
    }

    /// Ends all faults.
    pub fn repair(&self) {
        lock(&self.0).fails.clear();
    }

    /// The names of all steps, in order.
    pub fn steps(&self) -> Vec<String> {
        lock(&self.0).steps.iter().map(|step| name(step).to_owned()).collect()
    }

    /// All steps with what they carry, as `Debug` shows it.
    pub fn story(&self) -> Vec<String> {
        lock(&self.0).steps.clone()
    }
}

#[async_trait]
impl Recorder for MemoryRecorder {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        let step = format!("{:?}", event.what);
        let mut inner = lock(&self.0);
        if inner.fails.contains(name(&step)) {
            return Err(RecordError(Box::new(ScriptedFault)));
        }
        inner.steps.push(step);
        Ok(())
    }
}

fn name(step: &str) -> &str {
    step.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default()
}
