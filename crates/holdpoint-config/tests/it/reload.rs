//! A configuration that is edited: what is noticed, what changes, and what stays as it was.

use crate::folder::{Folder, MAIN, call, gated};
use holdpoint_config::{Action, Change, FingerprintKey, LivePolicy, what_changed};
use holdpoint_core::{Ask, Plan, Policy, QuestionDigest};
use std::fs;

const TOOLS: &str = "server: payments
tools:
  - name: issue_refund
    action: gate
    subject: 'Refund {{ args.amount }}'
    risk_level: high
    payload: { amount: { at: /amount } }
    payload_schema: s/refund.json
    approval: { token: required, patience: 5m }
    effect: 'refund:{{ args.amount }}'
  - { name: get_order, action: pass }
  - { name: 'drop_*', action: deny }
";

fn folder() -> Folder {
    let main = format!("hold: {{ patience: 1m }}\n{MAIN}  files: {{ command: [files] }}\n");
    Folder::new(&[
        ("holdpoint.yaml", &main),
        ("tools/payments.yaml", TOOLS),
        ("tools/s/refund.json", r#"{ "type": "object" }"#),
    ])
}

fn edit(folder: &Folder, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(folder.path(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    fs::write(folder.path(name), text.replace(from, to)).unwrap();
}

fn ask(policy: &dyn Policy) -> Box<Ask> {
    match policy.plan(&call("issue_refund", r#"{"amount":40}"#)) {
        Ok(Plan::Gate(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

fn question(folder: &Folder) -> QuestionDigest {
    ask(&folder.policy()).digest()
}

#[test]
fn the_revision_is_that_of_what_decides() {
    let folder = folder();
    let first = folder.load().revision();
    assert_eq!(first.as_str().len(), 16);
    assert_eq!(first, folder.load().revision());
    let mut seen = vec![first.clone()];
    // How it is written decides nothing, and neither does what is beside it.
    for (name, from, to) in [
        ("tools/payments.yaml", "server: payments", "# Ask the team.\nserver: \"payments\""),
        (
            "tools/payments.yaml",
            "    subject: 'Refund {{ args.amount }}'\n    risk_level: high",
            "    risk_level: high\n    subject: \"Refund {{ args.amount }}\"",
        ),
        ("tools/payments.yaml", "  - { name: 'drop_*', action: deny }\n", ""),
        ("tools/payments.yaml", "tools:\n", "tools:\n  - { name: 'drop_*', action: deny }\n"),
        ("tools/s/refund.json", r#"{ "type": "object" }"#, "{\n \"type\":\"object\" }"),
        (
            "holdpoint.yaml",
            "hold: { patience: 1m }",
            "hold: { patience: 60s, held_max: 9 }\ntimeline: { results: none }",
        ),
        ("holdpoint.yaml", "files: { command: [files] }", "files: { command: [other] }"),
    ] {
        edit(&folder, name, from, to);
        if to.is_empty() {
            continue;
        }
        assert_eq!(folder.load().revision(), first, "{to}");
    }
    for (name, from, to) in [
        ("tools/payments.yaml", "Refund {{", "Pay {{"),
        ("tools/payments.yaml", "at: /amount", "at: /amount, optional: true"),
        ("tools/s/refund.json", "object", "string"),
        ("tools/payments.yaml", "token: required", "token: off"),
        ("tools/payments.yaml", "patience: 5m", "patience: 6m"),
        ("tools/payments.yaml", "effect: 'refund:", "effect: 'refunds:"),
        ("tools/payments.yaml", "get_order", "get_orders"),
        ("tools/payments.yaml", "action: pass", "action: deny"),
        ("holdpoint.yaml", "patience: 60s", "patience: 61s"),
        ("holdpoint.yaml", "hold:", "unmatched: deny\nhold:"),
        ("holdpoint.yaml", "hold:", "workflow_name: Ops\nhold:"),
    ] {
        edit(&folder, name, from, to);
        let now = folder.load().revision();
        assert!(!seen.contains(&now), "{to}");
        seen.push(now);
    }
}

#[test]
fn a_question_stays_the_same_until_it_is_another() {
    let folder = folder();
    let first = question(&folder);
    for (name, from, to) in [
        ("tools/payments.yaml", "name: get_order, action: pass", "name: get_order, action: deny"),
        ("tools/payments.yaml", "'drop_*'", "'drops_*'"),
        ("tools/payments.yaml", "patience: 5m", "patience: 6m"),
        ("holdpoint.yaml", "hold:", "unmatched: deny\nhold:"),
    ] {
        edit(&folder, name, from, to);
        assert_eq!(question(&folder), first, "{to}");
    }
    let revision = folder.load().revision();
    for (name, from, to) in [
        ("tools/payments.yaml", "'Refund {{", "'Pay {{"),
        ("tools/payments.yaml", "amount: { at: /amount }", "sum: { at: /amount }"),
        ("tools/payments.yaml", "token: required", "token: optional"),
        ("tools/payments.yaml", "'refund:{{", "'pay:{{"),
        ("tools/payments.yaml", "risk_level: high", "risk_level: low"),
    ] {
        let before = question(&folder);
        edit(&folder, name, from, to);
        assert_ne!(question(&folder), before, "{to}");
    }
    assert_ne!(folder.load().revision(), revision);
}

#[test]
fn a_live_policy_is_replaced_as_a_whole() {
    let folder = folder();
    let live = LivePolicy::new(folder.policy());
    let before = live.current();
    assert_eq!(live.action_of("payments", "get_order"), Action::Pass);
    let first = ask(&live).digest();
    edit(&folder, "tools/payments.yaml", "Refund {{", "Pay {{");
    edit(&folder, "tools/payments.yaml", "action: pass", "action: deny");
    live.replace(folder.load().policy(FingerprintKey::new([7; 32])));
    assert_eq!(live.action_of("payments", "get_order"), Action::Deny);
    assert_eq!(ask(&live).subject, "Pay 40");
    assert_eq!(live.revision(), folder.load().revision());
    assert_ne!(ask(&live).digest(), first);
    // Whoever planned by the old one goes on with it.
    assert_eq!(ask(&*before).digest(), first);
    assert_ne!(before.revision(), live.revision());
}

#[test]
fn edits_are_noticed() {
    let edits: [fn(&Folder); 9] = [
        |folder| edit(folder, "holdpoint.yaml", "1m", "2m"),
        |folder| edit(folder, "tools/payments.yaml", "pass", "gate"),
        |folder| edit(folder, "tools/s/refund.json", "object", "string"),
        |folder| fs::write(folder.path("tools/files.yaml"), "server: files\ntools: []\n").unwrap(),
        |folder| fs::write(folder.path("gate.yaml"), "agents: []\n").unwrap(),
        |folder| fs::write(folder.path("key"), "sg_another").unwrap(),
        |folder| fs::remove_file(folder.path("tools/payments.yaml")).unwrap(),
        |folder| fs::remove_dir_all(folder.path("tools")).unwrap(),
        |folder| {
            // The usual way to save a file: another one takes its place, of the same length.
            let text = fs::read_to_string(folder.path("holdpoint.yaml")).unwrap();
            fs::write(folder.path("new"), text.replace("1m", "3m")).unwrap();
            fs::rename(folder.path("new"), folder.path("holdpoint.yaml")).unwrap();
        },
    ];
    for (number, make) in edits.into_iter().enumerate() {
        let folder = folder();
        edit(
            &folder,
            "holdpoint.yaml",
            "hold:",
            "gate: { url: 'https://g.example', api_key: '${file:key}' }\nhold:",
        );
        fs::write(folder.path("key"), "sg_from_a_file").unwrap();
        let sources = folder.load().sources;
        assert!(!sources.changed_since(), "nothing was edited yet ({number})");
        make(&folder);
        assert!(sources.changed_since(), "edit {number}");
    }
}

#[test]
fn what_is_no_edit_is_not_noticed() {
    let folder = folder();
    let sources = folder.load().sources;
    for name in ["holdpoint.yaml", "tools/payments.yaml", "tools/s/refund.json"] {
        let text = fs::read_to_string(folder.path(name)).unwrap();
        fs::remove_file(folder.path(name)).unwrap();
        fs::write(folder.path(name), text).unwrap();
    }
    fs::write(folder.path("tools/README.md"), "beside it").unwrap();
    fs::write(folder.path("tools/.payments.yaml"), "an editor's own").unwrap();
    assert!(!sources.changed_since());
    let mut read: Vec<_> = sources.paths().map(|path| path.strip_prefix(folder.path("")).unwrap()).collect();
    read.sort_unstable();
    let expected = ["holdpoint.yaml", "tools/payments.yaml", "tools/s/refund.json"];
    assert_eq!(read, expected.map(std::path::Path::new));
}

fn told(folder: &Folder, edit: impl FnOnce(&Folder)) -> String {
    let old = folder.load();
    assert_eq!(what_changed(&old, &folder.load()), []);
    edit(folder);
    let changes = what_changed(&old, &folder.load());
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_running_process_takes_over() {
    let told = told(&folder(), |folder| {
        for (name, from, to) in [
            ("tools/payments.yaml", "Refund {{", "Pay {{"),
            ("tools/payments.yaml", "token: required, patience: 5m", "patience: 5m"),
            ("tools/payments.yaml", "name: get_order, action: pass", "name: get_order, action: gate"),
            (
                "tools/payments.yaml",
                "  - { name: 'drop_*', action: deny }\n",
                "  - { name: 'wipe_*', action: pass }\n",
            ),
            ("tools/s/refund.json", "object", "string"),
            ("holdpoint.yaml", "patience: 1m", "patience: 2m"),
            ("holdpoint.yaml", "hold:", "unmatched: deny\nhold:"),
            ("holdpoint.yaml", "command: [files]", "command: [files], hold: { mode: bounded }"),
        ] {
            edit(folder, name, from, to);
        }
    });
    insta::assert_snapshot!(told, @r#"
    hold.patience: `60 s` → `120 s`
    unmatched: `gate` → `deny`
    server `files`: `hold`
    tool `payments/drop_*`: no entry any more, was deny
    tool `payments/get_order`: pass → gate
    tool `payments/issue_refund`: `subject`, `payload_schema`, `approval.token`
    tool `payments/wipe_*`: new entry, pass
    "#);
}

#[test]
fn what_waits_for_the_next_start() {
    let main = format!(
        "gate:\n  url: https://g.example\n  api_key: ${{file:key}}\n  webhook: {{ path: /a }}\n{MAIN}  files: {{ command: [files] }}\nhold: {{ patience: 1m }}\n"
    );
    let folder =
        Folder::new(&[("holdpoint.yaml", &main), ("key", "sg_hunter2"), ("db", "postgres://a:hunter2@b/c")]);
    let told = told(&folder, |folder| {
        fs::write(folder.path("key"), "sg_hunter3").unwrap();
        fs::write(folder.path("gate.yaml"), "agents: [{ name: default }]\n").unwrap();
        for (from, to) in [
            ("g.example", "h.example"),
            ("path: /a", "path: /b"),
            ("tools.example.com", "tools.example.org"),
            ("  files: { command: [files] }", "  notes: { command: [notes] }"),
            (
                "hold: { patience: 1m }",
                "hold: { held_max: 3, result_bytes_max: 1, result_kept: 1h }\naudit: { rotate_bytes: 70000 }\ntimeline: { results: none }\njournal: { url: '${file:db}' }\ncallers: { required: true }",
            ),
        ] {
            edit(folder, "holdpoint.yaml", from, to);
        }
    });
    assert!(!told.contains("hunter"), "{told}");
    insta::assert_snapshot!(told, @r#"
    hold.patience: `60 s` → not set
    server `notes`: new (at the next start)
    server `payments`: reached another way (at the next start)
    server `files`: removed (at the next start)
    gate.url (at the next start)
    gate.api_key (at the next start)
    gate.webhook (at the next start)
    callers (at the next start)
    journal (at the next start)
    audit.rotate_bytes (at the next start)
    timeline.results (at the next start)
    hold.held_max (at the next start)
    hold.result_bytes_max (at the next start)
    hold.result_kept (at the next start)
    gate.yaml, or now by `holdpoint gate apply` (at the next start)
    "#);
}

#[test]
fn another_gate_is_another_process() {
    let folder = Folder::new(&[("holdpoint.yaml", MAIN), ("key", "sg_x")]);
    let own = folder.load();
    edit(
        &folder,
        "holdpoint.yaml",
        "servers:",
        "gate: { url: 'https://g.example', api_key: '${file:key}' }\nservers:",
    );
    let other = folder.load();
    let at_next_start = |what: &str| vec![Change::AtNextStart(what.to_owned())];
    assert_eq!(what_changed(&own, &other), at_next_start("gate: another Gate instead of our own"));
    assert_eq!(what_changed(&other, &own), at_next_start("gate: our own Gate instead of another"));
}

#[test]
fn another_secret_of_the_bridge_is_noticed_and_not_told() {
    let bridge = "bridge: { callbacks: { hosts: [hooks.example], secret: '${file:hook}' }, targets: { shop: { url: 'https://s.example', \
                  headers: { authorization: '${file:key}' }, tools: { refund: { method: POST, path: / } } } } }\nservers:";
    let main = MAIN.replace("servers:", bridge);
    let hook = |byte: &str| format!("whsec_{}", byte.repeat(32));
    let folder = Folder::new(&[("holdpoint.yaml", &main), ("key", "k1"), ("hook", &hook("A"))]);
    let first = folder.load();
    for (file, secret) in [("key", "k2"), ("hook", &*hook("B"))] {
        let before = folder.load();
        fs::write(folder.path(file), secret).unwrap();
        let after = folder.load();
        assert_eq!(what_changed(&before, &after), [Change::AtNextStart("bridge".to_owned())], "{file}");
        assert_eq!(what_changed(&after, &folder.load()), []);
    }
    assert_eq!(what_changed(&first, &folder.load()), [Change::AtNextStart("bridge".to_owned())]);
}

#[test]
fn a_tools_folder_that_comes_later_is_noticed() {
    let folder = Folder::new(&[("holdpoint.yaml", MAIN)]);
    let sources = folder.load().sources;
    assert!(!sources.changed_since());
    fs::create_dir(folder.path("tools")).unwrap();
    fs::write(folder.path("tools/payments.yaml"), gated("risk_level: low")).unwrap();
    assert!(sources.changed_since());
}
