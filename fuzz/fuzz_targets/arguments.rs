//! Arguments that are accepted have one reading: every reader agrees on it, and no other text has their digest.
#![no_main]

use holdpoint_core::{Arguments, Principal, ServerName, TaskId, ToolCall, ToolName};
use serde_json::{Map, Value};

fn call(arguments: Arguments) -> ToolCall {
    ToolCall {
        principal: Principal::new("p"),
        server: ServerName::new("s"),
        tool: ToolName::new("t"),
        arguments,
        extra: Map::new(),
        definition: None,
        task: TaskId::new("t"),
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(arguments) = Arguments::parse(text) else {
        return;
    };
    let read: Map<String, Value> = serde_json::from_str(text).expect("accepted, so it is JSON");
    assert_eq!(arguments.as_map(), Some(&read));
    let digest = call(arguments).digest();
    // In another order, with other white space and escapes: the same call.
    let reversed: Map<String, Value> =
        read.iter().rev().map(|(key, value)| (key.clone(), value.clone())).collect();
    let text = serde_json::to_string_pretty(&reversed).expect("JSON");
    let again = Arguments::parse(text).expect("still one reading");
    assert_eq!(call(again).digest(), digest);
    // One more member: another call.
    let mut more = read;
    if more.insert("\u{1}another".into(), Value::Null).is_none() {
        let text = serde_json::to_string(&more).expect("JSON");
        if let Ok(more) = Arguments::parse(text) {
            assert_ne!(call(more).digest(), digest);
        }
    }
});
