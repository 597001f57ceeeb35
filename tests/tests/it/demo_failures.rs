//! `holdpoint demo failures`, as somebody sees it who wants to know what all this is good for.

use anyhow::Result;
use holdpoint_e2e::House;

#[test]
fn what_goes_wrong_elsewhere_is_stopped_here() -> Result<()> {
    let shown = House::new()?.run(&["demo", "failures"])?.success()?;
    insta::assert_snapshot!(shown);
    Ok(())
}

/// The counts come from the tool's own file, and the text above is made of these.
#[test]
fn the_same_for_a_script() -> Result<()> {
    let shown = House::new()?.run(&["demo", "failures", "--json"])?.json()?;
    let runs: Vec<_> = shown.as_array().into_iter().flatten().map(|scene| &scene["runs"]).collect();
    assert_eq!(runs, [1, 0, 1, 0, 0, 1, 1]);
    Ok(())
}
