//! What a configuration without mistakes comes to.

use crate::folder::{Folder, MAIN, call, gated};
use holdpoint_config::{
    AuditSettings, CallerSettings, Config, Credentials, Env, ServerEra, ServerSettings, TimelineResults,
    check, load, load_gate,
};
use holdpoint_core::{Plan, Policy as _, ServerName, Tokens};
use std::time::Duration;

fn server(config: &Config, name: &str) -> ServerSettings {
    config.servers[&ServerName::new(name)].clone()
}

#[test]
fn everything_comes_through() {
    let folder = Folder::new(&[
        (
            "holdpoint.yaml",
            "gate:
  url: ${GATE}/base
  api_key: ${file:secrets/key}
  tokens: optional
  webhook: { listen: '127.0.0.1:8790', path: /hooks, secret: '${SIGNED}' }
journal: { url: '${DB}' }
audit: { rotate_bytes: 1048576 }
timeline: { results: none }
servers:
  web: { url: 'http://127.0.0.1:9/mcp', headers: { Authorization: 'Bearer ${TOKEN}', x-team: ops }, era: legacy }
  files: { command: [npx, -y, '${PACKAGE}', 'a$${B}'], env: { API_KEY: '${TOKEN}', LOG: debug }, cwd: data }
callers:
  required: false
  oauth: { issuer: '${ISSUER}', audience: holdpoint, jwks_url: 'http://127.0.0.1:9/keys', scopes: [tools, refunds] }
hold: { patience: 1h30m, held_max: 7, result_bytes_max: 4096, result_kept: 2h }
unmatched: deny
workflow_name: Support
",
        ),
        ("secrets/key", "sg_from_a_file\n"),
    ])
    .env("GATE", "https://gate.example.com")
    .env("TOKEN", "t0p")
    .env("ISSUER", "https://issuer.example/realms/agents")
    .env("PACKAGE", "a-package")
    .env("DB", "postgres://holdpoint:w0rd@db.example/holdpoint")
    .env("SIGNED", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let config = folder.load();

    let gate = config.gate.clone().unwrap();
    assert_eq!(gate.url.as_str(), "https://gate.example.com/base");
    assert_eq!(gate.api_key.expose(), "sg_from_a_file");
    let ServerSettings::Http { url, headers, era } = server(&config, "web") else { panic!("not http") };
    assert_eq!(url.as_str(), "http://127.0.0.1:9/mcp");
    assert_eq!(era, ServerEra::Legacy);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", "Bearer t0p"), ("x-team", "ops")]);
    let ServerSettings::Stdio { program, arguments, env, cwd, era } = server(&config, "files") else {
        panic!("not stdio")
    };
    assert_eq!(era, ServerEra::Auto);
    assert_eq!(
        (program.as_str(), arguments),
        ("npx", vec!["-y".into(), "a-package".into(), "a${B}".to_owned()])
    );
    assert_eq!(env.iter().map(|(_, value)| value.expose()).collect::<Vec<_>>(), ["t0p", "debug"]);
    assert_eq!(cwd.unwrap(), folder.path("data"));
    assert_eq!(config.hold.waits.patience, Some(Duration::from_mins(90)));
    assert_eq!((config.hold.held_max, config.hold.result_bytes_max), (Some(7), Some(4096)));
    assert_eq!(config.hold.result_kept, Some(Duration::from_hours(2)));
    assert!(matches!(folder.policy().plan(&call("any", "{}")), Ok(Plan::Deny(_))));
    let webhook = gate.webhook.unwrap();
    assert_eq!(webhook.listen, Some("127.0.0.1:8790".parse().unwrap()));
    assert_eq!(webhook.path, "/hooks");
    assert_eq!(webhook.secret.unwrap().expose(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let journal = config.journal.clone().unwrap();
    assert_eq!(journal.url.expose(), "postgres://holdpoint:w0rd@db.example/holdpoint");
    assert_eq!(config.callers.credentials, Credentials::Optional);
    let oauth = config.callers.oauth.clone().unwrap();
    assert_eq!(oauth.issuer, "https://issuer.example/realms/agents");
    assert_eq!(oauth.audience.as_deref(), Some("holdpoint"));
    assert_eq!(oauth.jwks_url.as_deref(), Some("http://127.0.0.1:9/keys"));
    assert_eq!(oauth.scopes, ["tools", "refunds"]);
    assert_eq!(config.audit.rotate_bytes, Some(1_048_576));
    assert_eq!(config.timeline.results, TimelineResults::None);

    let shown = format!("{config:?}");
    for secret in ["t0p", "sg_from", "w0rd", "MfKQ9"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_is_not_said_is_left_to_whoever_uses_it() {
    let main = format!("gate: {{ url: 'https://g.example', api_key: '${{K}}', webhook: {{}} }}\n{MAIN}");
    let config = Folder::new(&[("holdpoint.yaml", &main)]).env("K", "sg_x").load();
    assert!(config.journal.is_none());
    assert_eq!((config.audit, config.timeline.results), (AuditSettings::default(), TimelineResults::Excerpt));
    assert_eq!(config.callers, CallerSettings { credentials: Credentials::Unsaid, oauth: None });
    assert_eq!(config.hold.result_kept, None);
    let webhook = config.gate.unwrap().webhook.unwrap();
    assert_eq!((webhook.listen, webhook.path.as_str()), (None, "/webhooks/gate"));
    assert!(webhook.secret.is_none());
}

/// Whoever names an issuer means it; what an issuer does not say is left open.
#[test]
fn an_issuer_makes_credentials_required() {
    let load = |callers: &str| {
        let main = format!("callers: {{ {callers} }}\n{MAIN}");
        Folder::new(&[("holdpoint.yaml", &main)]).load().callers
    };
    let callers = load("oauth: { issuer: 'https://issuer.example' }");
    assert_eq!(callers.credentials, Credentials::Required);
    let oauth = callers.oauth.unwrap();
    assert_eq!(
        (oauth.issuer.as_str(), oauth.audience, oauth.jwks_url),
        ("https://issuer.example", None, None)
    );
    assert!(oauth.scopes.is_empty());
    assert_eq!(load("required: true").credentials, Credentials::Required);
    assert_eq!(load("required: false").credentials, Credentials::Optional);
}

/// Gives every variable the same text, as commands do that only look.
struct Looking;

impl Env for Looking {
    fn var(&self, name: &str) -> Option<String> {
        Some(format!("https://unset.invalid/{name}"))
    }

    fn is_stand_in(&self, _: &str) -> bool {
        true
    }
}

#[test]
fn a_configuration_can_be_looked_at_without_its_secrets() {
    let main = format!(
        "gate:\n  url: ${{URL}}\n  api_key: ${{KEY}}\n  webhook: {{ secret: '${{SIGNED}}' }}\njournal:\n  url: ${{DB}}\n{MAIN}"
    );
    let folder = Folder::new(&[("holdpoint.yaml", &main)]);
    let config = load(&folder.path("holdpoint.yaml"), &Looking).unwrap();
    assert!(config.journal.is_some());
    assert!(config.gate.unwrap().webhook.unwrap().secret.is_none());
    assert!(check(&folder.path("holdpoint.yaml"), &Looking).notes.is_empty(), "a secret is named");
}

#[test]
fn what_a_tool_says_goes_before_what_holds_for_all() {
    let main = format!(
        "gate: {{ url: 'https://g.example', api_key: '${{K}}', tokens: off }}\nhold: {{ patience: 50s }}\nworkflow_name: Ops\n{MAIN}"
    );
    let tools = "server: payments\ntools:\n  - { name: a, action: gate }\n  - { name: b, action: gate, workflow_name: Own, approval: { token: required, patience: 2m } }\n";
    let folder = Folder::new(&[("holdpoint.yaml", &main), ("tools/p.yaml", tools)]).env("K", "sg_x");
    let policy = folder.policy();
    let ask = |tool: &str| match policy.plan(&call(tool, "{}")) {
        Ok(Plan::Gate(ask)) => ask,
        other => panic!("{other:?}"),
    };
    for tool in ["a", "unmatched"] {
        let ask = ask(tool);
        assert_eq!((ask.tokens, ask.patience), (Tokens::Off, Some(Duration::from_secs(50))), "{tool}");
        assert_eq!(ask.workflow_name, "Ops", "{tool}");
    }
    let own = ask("b");
    assert_eq!((own.tokens, own.patience), (Tokens::Required, Some(Duration::from_mins(2))));
    assert_eq!(own.workflow_name, "Own");
}

#[test]
fn json_is_read_by_the_same_reader() {
    let json = r#"{ "servers": { "payments": { "url": "https://a.example" } }, "unmatched": "deny" }"#;
    let tools = r#"{ "server": "payments", "tools": [ { "name": "x", "action": "pass" } ] }"#;
    let folder = Folder::new(&[("holdpoint.json", json), ("tools/payments.json", tools)]);
    assert!(matches!(folder.policy().plan(&call("x", "{}")), Ok(Plan::Pass(_))));
    assert!(matches!(folder.policy().plan(&call("y", "{}")), Ok(Plan::Deny(_))));
}

#[test]
fn a_dollar_before_a_template_is_a_dollar() {
    let folder = Folder::tools(&gated("subject: 'Refund ${{ args.amount }} and ${HOME}'"));
    let Ok(Plan::Gate(ask)) = folder.policy().plan(&call("issue_refund", r#"{"amount":40}"#)) else {
        panic!("not gated")
    };
    assert_eq!(ask.subject, "Refund $40 and ${HOME}");
}

#[test]
fn an_alias_stands_for_what_it_names() {
    let tools = "server: payments\ntools:\n  - { name: a, action: gate, summary: &s [One, Two] }\n  - { name: b, action: gate, summary: *s }\n";
    let Ok(Plan::Gate(ask)) = Folder::tools(tools).policy().plan(&call("b", "{}")) else {
        panic!("not gated")
    };
    assert_eq!(ask.summary, ["One", "Two"]);
}

#[test]
fn gate_yaml_is_read_beside_it_and_alone() {
    let text = "agents: [{ name: default }]\ntools:\n  - name: pay\n    rules: [{ type: upper_limit, parameter: amount, value: 9007199254740993.25, action: review }]\ntoken_ttl: 10m\n";
    let folder = Folder::new(&[("holdpoint.yaml", MAIN), ("gate.yaml", text)]);
    let declaration = folder.load().declaration.unwrap();
    assert_eq!(declaration, load_gate(&folder.path("gate.yaml")).unwrap());
    let json = serde_json::to_string(&declaration.tools).unwrap();
    assert!(json.contains("9007199254740993.25"), "{json}");
}

#[test]
fn every_mistake_says_what_to_do() {
    let texts = [
        "serverz: 1\n",
        "unmatched: pass\n",
        "hold: []\n",
        "- a\n",
        "servers: { a: 1 }\n",
        "hold: { held_max: -1 }\n",
    ];
    for text in texts {
        for mistake in Folder::new(&[("holdpoint.yaml", text)]).mistakes() {
            assert!(mistake.hint.is_some(), "{mistake}");
            assert!(!mistake.place.unwrap().underlined().is_empty());
        }
    }
}
