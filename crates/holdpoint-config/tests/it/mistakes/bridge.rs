//! The bridge: how it waits, whom it calls back, and what it runs itself.

use crate::folder::{Folder, main_file};
use holdpoint_config::{TargetContent, TargetPath, TargetSource};
use serde_json::json;
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn bridge(text: &str) -> Folder {
    Folder::new(&[("holdpoint.yaml", text)]).env("SECRET", SECRET).env("TOKEN", "t")
}

/// A target with one tool.
fn tool(text: &str) -> String {
    format!("bridge: {{ targets: {{ crm: {{ url: 'https://crm.example', tools: {{ t: {text} }} }} }} }}\n")
}

#[test]
fn what_is_said_is_what_comes_of_it() {
    let config = bridge(
        "bridge:
  wait: 10s
  wait_max: 2m
  deny_status: 403
  replays_max: 3
  open_max: 7
  callbacks: { hosts: ['*.Example.com', hooks.example.org], secret: '${SECRET}' }
  targets:
    crm:
      url: https://crm.example/v1
      headers: { Authorization: 'Bearer ${TOKEN}' }
      tools:
        refund:
          method: POST
          path: '/orders/{/order/id}/refunds/{kind}'
          query: { notify: { value: true }, ref: { at: /ref, optional: true } }
          json: { amount: { at: /amount }, currency: { value: usd } }
        note: { method: PATCH, path: /notes }
        wipe: { method: DELETE, path: '/orders/{id}' }
",
    )
    .load();
    let settings = config.bridge.unwrap();
    assert_eq!((settings.wait, settings.wait_max), (Duration::from_secs(10), Duration::from_mins(2)));
    assert!(settings.denies_with_403);
    assert_eq!((settings.replays_max, settings.kept), (3, Duration::from_hours(24)));
    assert_eq!(settings.open_max, 7);
    let callbacks = settings.callbacks.unwrap();
    assert_eq!(callbacks.hosts, ["*.example.com", "hooks.example.org"]);
    assert!(!callbacks.private_addresses);
    let target = settings.targets.values().next().unwrap();
    assert_eq!((target.headers[0].0.as_str(), target.headers[0].1.expose()), ("authorization", "Bearer t"));
    let refund = &target.tools["refund"];
    let (text, at) = (|text: &str| TargetPath::Text(text.into()), |at: &str| TargetPath::Argument(at.into()));
    assert_eq!(refund.path, [text("/orders/"), at("/order/id"), text("/refunds/"), at("/kind")]);
    assert_eq!(refund.query[1].1, TargetSource::At { pointer: "/ref".into(), optional: true });
    let TargetContent::Json(members) = &refund.body else { panic!("{:?}", refund.body) };
    assert_eq!(members[1], ("currency".into(), TargetSource::Value(json!("usd"))));
    assert_eq!(
        (&target.tools["note"].body, &target.tools["wipe"].body),
        (&TargetContent::Arguments, &TargetContent::None)
    );
    let places: Vec<_> = target.tools.values().map(|tool| target.place(tool)).collect();
    assert!(places[0] != places[1] && places[1] != places[2], "an approval for one is none for another");
}

#[test]
fn what_is_said_of_nothing_is_the_default() {
    assert!(bridge("servers: {}\n").load().bridge.is_none());
    let settings = bridge("bridge: {}\n").load().bridge.unwrap();
    assert_eq!((settings.wait, settings.replays_max), (Duration::from_secs(25), 20));
    assert_eq!(settings.open_max, 5_000);
    assert_eq!(bridge("bridge: { wait_max: 5s }\n").load().bridge.unwrap().wait, Duration::from_secs(5));
}

#[test]
fn each_mistake_is_told_with_its_way_out() {
    let callbacks = |text: &str| format!("bridge: {{ callbacks: {text} }}\n");
    for (text, told, hint) in [
        ("bridge: { wait: 6m }\n".to_owned(), "`wait` is longer than `wait_max`", "raise"),
        ("bridge: { wait_max: 20m }\n".to_owned(), "10 minutes at most", "called back"),
        ("bridge: { replays_max: 0 }\n".to_owned(), "no caller could ever read a yes", "20"),
        ("bridge: { open_max: 0 }\n".to_owned(), "nobody could ever ask", "5000"),
        ("bridge: { deny_status: 500 }\n".to_owned(), "200 or 403", "one of the two"),
        (callbacks("{ hosts: [], secret: '${SECRET}' }"), "names no `hosts`", "hooks.example.com"),
        (callbacks("{ hosts: ['https://a.example'], secret: '${SECRET}' }"), "no name of a host", "*.example.com"),
        (callbacks("{ hosts: ['*'], secret: '${SECRET}' }"), "no name of a host", "*.example.com"),
        (callbacks("{ hosts: [a.example] }"), "secret", ""),
        ("bridge: { targets: { bridge: { url: 'https://a.example', tools: {} } } }\n".to_owned(), "only answers about", "another name"),
        ("servers: { a: { url: 'https://a.example' } }\nbridge: { targets: { a: { url: 'https://a.example', tools: {} } } }\n".to_owned(), "there is a server `a` as well", "another name"),
        ("servers: { bridge: { url: 'https://a.example' } }\n".to_owned(), "only answers about", "another name"),
        ("bridge: { targets: { a: { url: 'http://a.example', tools: {} } } }\n".to_owned(), "read and changed on its way", "https"),
        ("bridge: { targets: { a: { url: 'https://a.example/?x=1', tools: {} } } }\n".to_owned(), "no query", "at the tools"),
        (tool("{ method: GET, path: orders }"), "starts with `/`", "/orders"),
        (tool("{ method: GET, path: '/orders/{id' }"), "`{` without its `}`", "{name}"),
        (tool("{ method: GET, path: '/orders/x{id}' }"), "a whole segment", "between two"),
        (tool("{ method: GET, path: '/orders/{id}.json' }"), "a whole segment", "between two"),
        (tool("{ method: GET, path: '/orders/{}' }"), "no name of an argument", "{name}"),
        (tool("{ method: GET, path: '/orders/{a/b}' }"), "no name of an argument", "json/pointer"),
        (tool("{ method: GET, path: '/a/../b' }"), "folded away", "whole path"),
        (tool("{ method: GET, path: '/a?x=1' }"), "characters in it", "query"),
        (tool("{ method: GET, path: '/a%2e%2e/b' }"), "characters in it", "query"),
        (tool("{ method: TRACE, path: /a }"), "TRACE", ""),
        (tool("{ method: POST, path: /a, headers: { Host: { value: x } } }"), "set by the connection", "remove"),
        (tool("{ method: POST, path: /a, headers: { 'a b': { value: x } } }"), "name of a header", "letters"),
        (tool("{ method: POST, path: /a, query: { x: {} } }"), "either `at`", "{ at: /name }"),
        (tool("{ method: POST, path: /a, query: { x: { at: amount } } }"), "starts with `/`", "/amount"),
        (tool("{ method: POST, path: /a, body: none, json: {} }"), "more than one body", "keep one"),
        (tool("{ method: POST, path: /a, url: x }"), "url", ""),
        (tool("{ method: POST, path: /a, headers: { authorization: { value: abc } } }"), "no place for a credential", "headers"),
        (tool("{ method: POST, path: /a, query: { api_key: { value: abc } } }"), "no place for a credential", "headers"),
        (tool("{ method: POST, path: /a, json: { x: { value: '${TOKEN}' } } }"), "or a variable", "headers"),
        (tool("{ method: POST, path: /a, headers: { x-a: { at: /a }, X-A: { at: /b } } }"), "is sent already", "remove"),
        (tool("{ method: POST, path: /a, headers: { upgrade: { at: /a } } }"), "set by the connection", "remove"),
        ("bridge: { targets: { a: { url: 'https://a.example', headers: { x-a: b }, tools: { t: { method: GET, path: /t, headers: { X-a: { at: /x } } } } } } }\n".to_owned(), "`x-a` is sent already", "remove"),
        ("bridge: { expires: 10s }\n".to_owned(), "`expires` is one minute at least", "1m"),
        ("bridge: { kept: 10s }\n".to_owned(), "`kept` is one minute at least", "1m"),
        (callbacks("{ hosts: ['[anything]'], secret: '${SECRET}' }"), "no name of a host", "*.example.com"),
    ] {
        let said = bridge(&text).told();
        assert!(said.contains(told) && said.contains(hint), "{text}\n{said}");
    }
}

#[test]
fn a_credential_in_the_file_itself() {
    let text = "bridge: { targets: { crm: { url: 'https://crm.example', headers: { authorization: Bearer abc }, tools: {} } } }\n";
    let said = main_file(text);
    assert!(
        said.contains("a credential does not belong in the file itself") && !said.contains("abc"),
        "{said}"
    );
}

#[test]
fn tools_files_are_for_the_bridge_and_its_targets_too() {
    let main = "bridge: { targets: { crm: { url: 'https://crm.example', tools: { wipe: { method: DELETE, path: /w } } } } }\n";
    for (server, tool) in [("bridge", "anything"), ("crm", "wipe"), ("crm", "'w*'")] {
        let tools = format!("server: {server}\ntools: [{{ name: {tool}, action: deny }}]\n");
        Folder::new(&[("holdpoint.yaml", main), ("tools/x.yaml", &tools)]).load();
    }
    for (server, tool, told) in [("crn", "wipe", "no server `crn`"), ("crm", "wip", "has no tool `wip`")] {
        let tools = format!("server: {server}\ntools: [{{ name: {tool}, action: deny }}]\n");
        let said = Folder::new(&[("holdpoint.yaml", main), ("tools/x.yaml", &tools)]).told();
        assert!(said.contains(told), "{said}");
    }
}
