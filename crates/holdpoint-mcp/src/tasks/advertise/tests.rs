use super::{advertised, without_our_tasks};

const EXTENSION: &str = r#""io.modelcontextprotocol/tasks":{}"#;

fn discovered(capabilities: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{ "a" : 1.0, "capabilities": {capabilities}, "z":[] }} }}"#)
}

#[test]
fn the_extension_is_put_beside_what_is_there() {
    for (before, after) in [
        (r#"{"tools":{}}"#.to_owned(), format!(r#"{{"extensions":{{{EXTENSION}}},"tools":{{}}}}"#)),
        (
            r#"{ "tools" : {"x":1}, "extensions" : { } }"#.to_owned(),
            format!(r#"{{ "tools" : {{"x":1}}, "extensions" : {{{EXTENSION} }} }}"#),
        ),
        (
            r#"{"extensions":{"io.other/x":{"k":1e2}},"tools":{}}"#.to_owned(),
            format!(r#"{{"extensions":{{{EXTENSION},"io.other/x":{{"k":1e2}}}},"tools":{{}}}}"#),
        ),
    ] {
        assert_eq!(advertised(&discovered(&before)), Some(discovered(&after)));
    }
}

#[test]
fn what_is_no_such_answer_stays_as_it_is() {
    for text in [
        discovered(&format!(r#"{{"tools":{{}},"extensions":{{{EXTENSION}}}}}"#)),
        discovered(r#"{"prompts":{}}"#),
        discovered("null"),
        discovered(r#"{"tools":{},"extensions":7}"#),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#.to_owned(),
        "[]".to_owned(),
        "no json".to_owned(),
    ] {
        assert_eq!(advertised(&text), None, "{text}");
    }
}

#[test]
fn the_server_does_not_hear_of_our_tasks() {
    let listen = |ids: &str| {
        format!(
            r#"{{"id":1,"method":"subscriptions/listen","params":{{"notifications":{{"taskIds":{ids}}}}}}}"#
        )
    };
    assert_eq!(without_our_tasks(&listen(r#"["holdpoint-task-1", "a"]"#)), Some(listen(r#"["a"]"#)));
    assert_eq!(without_our_tasks(&listen(r#"["holdpoint-task-1"]"#)), Some(listen("[]")));
    assert_eq!(without_our_tasks(&listen(r#"["a", 1]"#)), None);
    let flat = r#"{"params":{"taskIds":["b","holdpoint-task-2"]}}"#;
    assert_eq!(without_our_tasks(flat), Some(r#"{"params":{"taskIds":["b"]}}"#.to_owned()));
    assert_eq!(without_our_tasks(r#"{"params":{}}"#), None);
}
