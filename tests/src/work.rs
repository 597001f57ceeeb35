//! Many small jobs on a few threads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

/// Does all jobs, on `at_once` threads with a stack each, and names those that failed, one line each. A stack whose job
/// failed is put aside for a fresh one.
pub fn lines_of_work<S, J: Send>(
    at_once: usize,
    jobs: impl IntoIterator<Item = J>,
    stack: impl Fn(usize) -> Result<S> + Sync,
    work: impl Fn(&mut S, J) -> Result<()> + Sync,
) -> Result<()> {
    let jobs = Mutex::new(jobs.into_iter().collect::<VecDeque<J>>());
    let failures = Mutex::new(0_usize);
    let stacks = std::sync::atomic::AtomicUsize::new(0);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let fail = |error: &anyhow::Error| {
        println!("{error:#}");
        *failures.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    };
    let fresh = || stack(stacks.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let mut own = fresh();
                while let Some(job) = next() {
                    let done = match &mut own {
                        Ok(own) => work(own, job),
                        Err(error) => Err(anyhow::anyhow!("no stack: {error:#}")),
                    };
                    if let Err(error) = done {
                        fail(&error);
                        own = fresh();
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failures == 0, "{failures} jobs failed");
    Ok(())
}
