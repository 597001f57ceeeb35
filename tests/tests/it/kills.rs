//! The proxy is killed at every step of every kind of call, started again, and sent the same call until it answers.
//!
//! Whatever happens: no run without an approval of its own, no effect twice, doubt is told and stays until a person
//! resolves it, and the audit log is whole at the end. What ran is what the tool server wrote down, what was approved is
//! what Gate wrote down. A cell whose point is never passed fails.

mod play;
mod table;

use anyhow::{Result, ensure};
use holdpoint_e2e::Route;
use play::World;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use table::{Cell, Flow, cells};

/// Cells of one test that are played at once: most of their time is waiting.
const AT_ONCE: usize = 5;

fn survives(flow: Flow, route: Route) -> Result<()> {
    let world = World::open()?;
    let cells = Mutex::new(cells(flow, route).collect::<VecDeque<Cell>>());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = cells.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(cell) = next else { return };
                    if let Err(error) = play::play(&world, &cell) {
                        println!("{cell}: {error:#}");
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(cell.to_string());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failures.is_empty(), "{} cells failed: {failures:#?}", failures.len());
    Ok(())
}

/// A table that shrinks by accident proves less than it says.
#[test]
fn the_table_is_large() {
    let count: usize =
        Flow::ALL.iter().flat_map(|flow| Route::ALL.map(|route| cells(*flow, route).count())).sum();
    println!("{count} cells");
    assert!(count >= 300, "{count}");
}

macro_rules! each_flow {
    ($($flow:ident: $stdio:ident, $http:ident;)+) => {$(
        #[test]
        fn $stdio() -> Result<()> {
            survives(Flow::$flow, Route::Stdio)
        }

        #[test]
        fn $http() -> Result<()> {
            survives(Flow::$flow, Route::Http)
        }
    )+};
}

each_flow! {
    Approved: approved_over_stdio, approved_over_http;
    Tokenless: tokenless_over_stdio, tokenless_over_http;
    Revised: revised_over_stdio, revised_over_http;
    GatedOnce: gated_once_over_stdio, gated_once_over_http;
    PassedOnce: passed_once_over_stdio, passed_once_over_http;
    AllowedOnce: allowed_once_over_stdio, allowed_once_over_http;
    Rejected: rejected_over_stdio, rejected_over_http;
    Withdrawn: withdrawn_over_stdio, withdrawn_over_http;
    Lost: lost_over_stdio, lost_over_http;
}
