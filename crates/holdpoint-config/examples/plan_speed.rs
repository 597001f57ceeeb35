//! How long a plan takes: `cargo run --release -p holdpoint-config --example plan_speed -- config`.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a measurement")]

use holdpoint_config::{FingerprintKey, load};
use holdpoint_core::{
    Arguments, Policy as _, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning,
};
use std::{collections::BTreeMap, hint::black_box, path::PathBuf, time::Instant};

const ROUNDS: u32 = 200_000;

fn main() {
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from("config"), PathBuf::from);
    let names = ["STACKSONA_API_KEY", "PAYMENTS_TOKEN"].map(|name| (name.to_owned(), "x".to_owned()));
    let url = ("STACKSONA_GATE_URL".to_owned(), "https://gate.example.com".to_owned());
    let env: BTreeMap<String, String> = names.into_iter().chain([url]).collect();
    let policy = load(&path, &env).unwrap().policy(FingerprintKey::new([1; 32]));
    let refund = r#"{"order_id":"1042","amount":40.50,"customer_id":"cus_7","reason":"Arrived broken","card":{"number":"4242424242424242"}}"#;
    for (what, server, tool, arguments) in [
        ("pass, exact", "files", "read_text_file", r#"{"path":"a"}"#),
        ("pass, glob", "payments", "get_order", r#"{"order_id":"1"}"#),
        ("gate, no entry", "payments", "close_account", r#"{"customer_id":"cus_7"}"#),
        ("gate, plain paths", "files", "move_file", r#"{"source":"a","destination":"b"}"#),
        ("gate, engine", "files", "write_file", r#"{"path":"a","content":"Hello"}"#),
        ("gate, secret and schema", "payments", "issue_refund", refund),
    ] {
        let call = ToolCall {
            principal: Principal::new("ada"),
            server: ServerName::new(server),
            tool: ToolName::new(tool),
            arguments: Arguments::parse(arguments).unwrap(),
            extra: serde_json::Map::new(),
            definition: None,
            warning: ToolWarning::None,
            task: TaskId::new("task"),
        };
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(policy.plan(black_box(&call)).unwrap());
        }
        let plan = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(policy.action_of(black_box(server), black_box(tool)));
        }
        let action = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS);
        println!("{what:<24} plan {plan:>8.0} ns   action_of {action:>5.0} ns");
    }
}
