//! The table of crates in ARCHITECTURE.md against what Cargo says.
//!
//! The table is the design; a dependency that it does not name is refused, and so is a name in the table that nobody uses.
//! Dev-dependencies do not count: a test may look down from anywhere.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{cargo, output, root};

const HEADING: &str = "## The crates";
const PREFIX: &str = "holdpoint-";

/// What a crate may use, by the names of our own crates without their prefix.
#[derive(Debug, PartialEq, Eq)]
enum Uses {
    /// The binary wires everything.
    All,
    These(BTreeSet<String>),
}

/// Column `crate` to column `uses`.
fn table(markdown: &str) -> Result<BTreeMap<String, Uses>> {
    let (_, section) = markdown.split_once(HEADING).with_context(|| format!("no heading `{HEADING}`"))?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.trim_start().starts_with('|')).skip(2);
    let mut crates = BTreeMap::new();
    for row in rows {
        let cells: Vec<String> = row
            .trim()
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect();
        let [name, _, uses, ..] = cells.as_slice() else {
            bail!("a row of the table has fewer than three columns: {row}");
        };
        if crates.insert(name.clone(), parse_uses(uses)).is_some() {
            bail!("the table names `{name}` twice");
        }
    }
    if crates.is_empty() {
        bail!("no table under `{HEADING}`");
    }
    Ok(crates)
}

fn parse_uses(cell: &str) -> Uses {
    match cell {
        "all" => Uses::All,
        "–" | "-" | "" => Uses::These(BTreeSet::new()),
        names => Uses::These(names.split(',').map(|name| name.trim().to_owned()).collect()),
    }
}

/// The members of the workspace and which of ours they use, from `cargo metadata --no-deps`.
fn actual(metadata: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut crates = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().context("no name")?;
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        let uses = dependencies
            .iter()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .filter_map(|name| name.strip_prefix(PREFIX))
            .map(str::to_owned)
            .collect();
        crates.insert(name.to_owned(), uses);
    }
    Ok(crates)
}

/// Every difference, one sentence each.
fn differences(table: &BTreeMap<String, Uses>, actual: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut differences = Vec::new();
    for name in table.keys().filter(|name| !actual.contains_key(*name)) {
        differences.push(format!("the table names `{name}`, which is no crate"));
    }
    for (name, used) in actual {
        match table.get(name) {
            None => differences.push(format!("`{name}` is missing in the table")),
            Some(Uses::All) => {}
            Some(Uses::These(allowed)) => {
                for extra in used.difference(allowed) {
                    differences.push(format!("`{name}` uses `{extra}`, which the table does not allow"));
                }
                for unused in allowed.difference(used) {
                    differences.push(format!("the table says that `{name}` uses `{unused}`; it does not"));
                }
            }
        }
    }
    differences
}

const TABLE: &str = "\
## The crates

| crate | one line | uses | alone may touch |
|---|---|---|---|
| `holdpoint-core` | Decides. | – | – |
| `holdpoint-client` | Asks. | core, api | `reqwest` |
| `holdpoint-api` | The wire. | – | – |
| `holdpoint` | The binary. | all | `clap` |

## Next
| x | y | z | w |
";

fn metadata(dependencies: &Value) -> Value {
    let package = |name: &str, dependencies: &Value| {
        serde_json::json!({
            "name": name,
            "dependencies": dependencies,
        })
    };
    serde_json::json!({ "packages": [
        package("holdpoint-core", &serde_json::json!([])),
        package("holdpoint-api", &serde_json::json!([])),
        package("holdpoint", &serde_json::json!([{ "name": "holdpoint-core", "kind": null }])),
        package("holdpoint-client", dependencies),
    ]})
}

fn found(dependencies: &Value) -> Vec<String> {
    differences(&table(TABLE).unwrap(), &actual(&metadata(dependencies)).unwrap())
}

#[test]
fn the_crates_are_what_the_architecture_says() {
    let markdown = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let metadata =
        output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"])).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let differences = differences(&table(&markdown).unwrap(), &actual(&metadata).unwrap());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_table_that_agrees_is_accepted() {
    let found = found(&serde_json::json!([
        { "name": "holdpoint-core", "kind": null },
        { "name": "holdpoint-api", "kind": null },
        { "name": "holdpoint-testkit", "kind": "dev" },
        { "name": "serde", "kind": null },
    ]));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_refused() {
    let found = found(&serde_json::json!([
        { "name": "holdpoint-core", "kind": null },
        { "name": "holdpoint-api", "kind": null },
        { "name": "holdpoint-server", "kind": "build" },
    ]));
    assert_eq!(found, ["`holdpoint-client` uses `server`, which the table does not allow"]);
}

#[test]
fn an_arrow_that_nobody_uses_is_refused() {
    let found = found(&serde_json::json!([{ "name": "holdpoint-core", "kind": null }]));
    assert_eq!(found, ["the table says that `holdpoint-client` uses `api`; it does not"]);
}

#[test]
fn a_crate_without_a_row_is_refused() {
    let table = table(&TABLE.replace("holdpoint-api", "holdpoint-wire")).unwrap();
    let actual = actual(&metadata(&serde_json::json!([
        { "name": "holdpoint-core", "kind": null },
        { "name": "holdpoint-api", "kind": null },
    ])))
    .unwrap();
    assert_eq!(
        differences(&table, &actual),
        ["the table names `holdpoint-wire`, which is no crate", "`holdpoint-api` is missing in the table"]
    );
}
