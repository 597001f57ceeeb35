//! `examples/dify`, as it stands in the repository.
//!
//! Its lint and its tool are tested wherever Python is. Its workflows run on Dify's own engine (`graphon`, from `PyPI`), which
//! needs Python 3.12 or 3.13: the tests in [`engine`] are ignored, and `cargo xtask test` runs them by name where it finds one
//! of these, and says at its very end where it does not.

mod engine;
mod lint;
mod office;

use anyhow::{Context as _, Result};
use holdpoint_e2e::Request;
use office::{Office, example};
use serde_json::Value;

/// What Dify imports as a tool is what the bridge itself says of it.
#[test]
fn the_tool_is_the_bridges_own() -> Result<()> {
    let office = Office::open()?;
    let answer = Request::get(&format!("{}/v1/openapi-tools.json", office.bridge_url)).send()?;
    let mut served: Value = serde_json::from_str(&answer.text)?;
    let mut shipped: Value =
        serde_json::from_str(&std::fs::read_to_string(example("holdpoint-tool.openapi.json"))?)?;
    assert_eq!(served["servers"][0]["url"], *office.bridge_url);
    let servers = shipped["servers"].as_array().context("servers")?;
    assert_eq!((servers.len(), &servers[0]["url"]), (1, &Value::from("http://holdpoint:7879")));
    served["servers"].take();
    shipped["servers"].take();
    assert_eq!(served, shipped);
    // As Dify's importer wants it: each operation named, each field of a body plain.
    for path in shipped["paths"].as_object().context("paths")?.values() {
        for operation in path.as_object().context("operations")?.values() {
            assert!(operation["operationId"].is_string(), "{operation}");
            let fields = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
            for field in fields.as_object().into_iter().flat_map(|fields| fields.values()) {
                assert!(matches!(field["type"].as_str(), Some("string" | "integer" | "boolean")), "{field}");
            }
        }
    }
    Ok(())
}
