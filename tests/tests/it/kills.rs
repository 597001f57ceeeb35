//! The proxy is killed at every step of every kind of call, started again, and sent the same call until it answers.
//!
//! Whatever happens: no run without an approval of its own, no effect twice, doubt is told and stays until a person
//! resolves it, and the audit log is whole at the end. What ran is what the tool server wrote down, what was approved is
//! what Gate wrote down. A cell whose point is never passed fails.

mod play;
mod table;
mod tickets;

use anyhow::{Context as _, Result};
use holdpoint_e2e::{Route, lines_of_work};
use play::World;
use table::{Cell, Deaths, Flow, Store, cells};

/// Cells of one test that are played at once: most of their time is waiting.
const AT_ONCE: usize = 5;

fn survives(flow: Flow, route: Route) -> Result<()> {
    let world = World::open()?;
    lines_of_work(
        AT_ONCE,
        cells(flow, route),
        |_| Ok(()),
        |(), cell| play::play(&world, &cell).with_context(|| cell.to_string()),
    )
}

/// The table is honest: a death that is not died is a failure.
#[test]
fn a_point_that_is_not_passed_fails() -> Result<()> {
    let deaths = Deaths::At(vec!["journal.take_effect:before".to_owned()]);
    let cell = Cell { flow: Flow::Approved, route: Route::Stdio, store: Store::Sqlite, deaths };
    let error = play::play(&World::open()?, &cell).err().context("it was played to its end")?;
    assert!(format!("{error:#}").contains("never passed"), "{error:#}");
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

fn outlived(kind: tickets::Kind, route: Route) -> Result<()> {
    let world = World::open()?;
    lines_of_work(
        AT_ONCE,
        tickets::cells(kind, route),
        |_| Ok(()),
        |(), cell| tickets::play(&world, &cell).with_context(|| format!("{cell:?}")),
    )
}

/// Calls whose client has something that outlives the process: a task, or the state of a question.
mod with_tickets {
    use super::{Result, Route, outlived, tickets::Kind};

    #[test]
    fn tasks_over_stdio() -> Result<()> {
        outlived(Kind::Task, Route::Stdio)
    }

    #[test]
    fn tasks_over_http() -> Result<()> {
        outlived(Kind::Task, Route::Http)
    }

    #[test]
    fn tasks_that_ask_over_stdio() -> Result<()> {
        outlived(Kind::TaskAsks, Route::Stdio)
    }

    #[test]
    fn tasks_that_ask_over_http() -> Result<()> {
        outlived(Kind::TaskAsks, Route::Http)
    }

    #[test]
    fn cancelled_tasks_over_stdio() -> Result<()> {
        outlived(Kind::TaskCancelled, Route::Stdio)
    }

    #[test]
    fn cancelled_tasks_over_http() -> Result<()> {
        outlived(Kind::TaskCancelled, Route::Http)
    }

    #[test]
    fn questions_over_stdio() -> Result<()> {
        outlived(Kind::Asks, Route::Stdio)
    }

    #[test]
    fn questions_over_http() -> Result<()> {
        outlived(Kind::Asks, Route::Http)
    }
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
