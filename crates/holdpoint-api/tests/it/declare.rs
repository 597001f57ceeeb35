//! The declaration of a Gate: what is read, what is refused, and how it travels.

use holdpoint_api::declare::{
    Action, GateDeclaration, HumaneDuration, OnMismatch, RuleDeclaration, RuleTest, Unregistered,
};

fn read(text: &str) -> Result<GateDeclaration, serde_json::Error> {
    serde_json::from_str(text)
}

fn rule(text: &str) -> Result<RuleDeclaration, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_strict() {
    let gate = read(r#"{"agents":[{"name":"default"}],"tools":[{"name":"issue_refund"}]}"#).unwrap();
    assert!(gate.agents[0].signed_tokens && !gate.agents[0].paused);
    assert_eq!(gate.tools[0].default_action, Action::Review);
    assert_eq!(gate.unregistered, Unregistered::Review);
    assert_eq!(gate.token_ttl.get().as_secs(), 600);
    assert_eq!(read("{}").unwrap(), GateDeclaration::default());
}

#[test]
fn unknown_fields_are_mistakes() {
    assert!(read(r#"{"agent":[]}"#).is_err());
    assert!(read(r#"{"agents":[{"name":"a","signed_token":false}]}"#).is_err());
    assert!(read(r#"{"tools":[{"name":"t","default":"allow"}]}"#).is_err());
    assert!(read(r#"{"unregistered":"allow"}"#).is_err());
}

#[test]
fn the_reference_rules() {
    let limit = rule(r#"{"type":"upper_limit","parameter":"amount","value":250,"action":"review"}"#).unwrap();
    assert_eq!(limit.test, RuleTest::UpperLimit { value: 250.into() });
    let low =
        rule(r#"{"type":"lower_limit","parameter":"confidence","value":0.8,"action":"allow"}"#).unwrap();
    assert!(matches!(&low.test, RuleTest::LowerLimit { value } if value.to_string() == "0.8"));
    let between =
        rule(r#"{"type":"between","parameter":"amount","min":250,"max":1000,"action":"review"}"#).unwrap();
    assert_eq!(between.test, RuleTest::Between { min: 250.into(), max: 1000.into() });
    let contains =
        rule(r#"{"type":"contains","parameter":"reason","value":"fraud","action":"reject"}"#).unwrap();
    assert_eq!((contains.action, contains.on_mismatch), (Action::Reject, OnMismatch::NoMatch));
    let regex = rule(r#"{"action":"review","pattern":".*@competitor\\.com$","parameter":"email","type":"regex","on_mismatch":"review"}"#)
        .unwrap();
    assert_eq!(regex.test, RuleTest::Regex { pattern: r".*@competitor\.com$".to_owned() });
    assert_eq!(regex.on_mismatch, OnMismatch::Review);
    for rule in [limit, low, between, contains, regex] {
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<RuleDeclaration>(&text).unwrap(), rule, "{text}");
    }
}

#[test]
fn numbers_keep_their_text() {
    let text = r#"{"type":"upper_limit","parameter":"id","value":12345678901234567890123,"action":"review"}"#;
    assert_eq!(serde_json::to_string(&rule(text).unwrap()).unwrap(), text);
}

#[test]
fn rules_that_do_not_fit_their_type_say_why() {
    for (text, why) in [
        (r#"{"type":"upper_limit","parameter":"a","value":"250","action":"review"}"#, "has to be a number"),
        (r#"{"type":"contains","parameter":"a","value":250,"action":"review"}"#, "put it in quotes"),
        (r#"{"type":"between","parameter":"a","min":1,"action":"review"}"#, "missing field `max`"),
        (r#"{"type":"regex","parameter":"a","value":"x","action":"review"}"#, "missing field `pattern`"),
        (r#"{"type":"upper_limit","parameter":"a","value":1,"max":2,"action":"review"}"#, "has no `max`"),
        (
            r#"{"type":"upper_limit","parameter":"a","value":1,"value":2,"action":"review"}"#,
            "duplicate field",
        ),
        (r#"{"type":"upper_limit","parameter":"a","value":1}"#, "missing field `action`"),
        (r#"{"type":"upper_limit","parameter":"a","value":1,"action":"deny"}"#, "unknown variant"),
        (r#"{"type":"over","parameter":"a","value":1,"action":"review"}"#, "unknown variant"),
        (r#"{"type":"upper_limit","parameter":"a","value":1,"action":"review","x":1}"#, "unknown field `x`"),
    ] {
        let error = rule(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_one_field_alone_cannot_show() {
    let gate = read(
        r#"{"agents":[{"name":"a"},{"name":"a"}],"tools":[{"name":" "},{"name":"t","rules":[
            {"type":"between","parameter":"p","min":2,"max":1,"action":"allow"},
            {"type":"contains","parameter":"p","value":"","action":"allow"},
            {"type":"contains","parameter":"","value":"x","action":"allow"}]}]}"#,
    )
    .unwrap();
    let places: Vec<_> = gate.mistakes().into_iter().map(|mistake| mistake.at).collect();
    assert_eq!(
        places,
        [
            "/agents/1/name",
            "/tools/0/name",
            "/tools/1/rules/0/min",
            "/tools/1/rules/1/value",
            "/tools/1/rules/2/parameter"
        ]
    );
    assert!(read("{}").unwrap().mistakes().is_empty());
}

#[test]
fn durations_are_written_as_people_write_them() {
    for (text, seconds) in [("10m", 600), ("1h 30m", 5400), ("45s", 45), ("2 hours", 7200)] {
        let length = HumaneDuration::parse(text).unwrap();
        assert_eq!(length.get().as_secs(), seconds, "{text}");
        assert_eq!(HumaneDuration::parse(&length.to_string()).unwrap(), length);
    }
    for no in ["", "10", "0s", "-1m", "400 days", "soon", "1h ago"] {
        assert!(HumaneDuration::parse(no).is_err(), "{no}");
    }
}

#[test]
fn the_schema_lists_every_field_of_every_rule() {
    let schema = serde_json::to_string(&schemars::schema_for!(GateDeclaration)).unwrap();
    for word in [
        "upper_limit",
        "lower_limit",
        "between",
        "contains",
        "regex",
        "on_mismatch",
        "signed_tokens",
        "unregistered",
    ] {
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
}
