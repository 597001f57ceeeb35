use super::{Catalog, ListError, NoTool, Schemas, ToolSource};
use crate::{MemoryPins, reply::Ended};
use async_trait::async_trait;
use holdpoint_core::{Question, ServerName};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Pages by their number, and which were asked for.
#[derive(Debug, Default)]
struct Pages(Mutex<Vec<String>>);

#[async_trait]
impl ToolSource for Pages {
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError> {
        let number: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        self.0.lock().unwrap().get(number).cloned().ok_or(ListError::Unreachable)
    }

    async fn probe(&self, _: &Question) -> Result<String, ListError> {
        Err(ListError::Unreachable)
    }
}

fn pages(results: &[Value]) -> Pages {
    Pages(Mutex::new(results.iter().map(|result| json!({"id": 1, "result": result}).to_string()).collect()))
}

fn catalog() -> Catalog {
    Catalog::new(ServerName::new("s"), Arc::new(MemoryPins::new()), Arc::new(Schemas::default()))
}

#[tokio::test]
async fn pages_are_followed_to_the_end_and_no_further() {
    let source = pages(&[
        json!({"tools": [{"name": "a"}], "nextCursor": "1"}),
        json!({"tools": [{"name": "b"}], "nextCursor": null}),
    ]);
    let catalog = catalog();
    for name in ["a", "b"] {
        assert_eq!(catalog.accepted(&source, name).await.unwrap().name.as_str(), name);
        assert!(catalog.at_hand(name).is_some());
    }
    let endless = pages(&[json!({"tools": [], "nextCursor": "0"})]);
    catalog.mark_stale();
    assert!(catalog.at_hand("a").is_none());
    assert!(matches!(catalog.accepted(&endless, "a").await, Err(NoTool::Unlisted(ListError::TooMany))));
}

#[tokio::test]
async fn lists_that_cannot_be_read_are_no_lists() {
    for page in [
        "",
        "[]",
        r#"{"result":{}}"#,
        r#"{"result":{"tools":[{}]}}"#,
        r#"{"result":{"tools":[],"tools":[]}}"#,
        r#"{"result":{"tools":[{"name":1}]}}"#,
    ] {
        let source = Pages(Mutex::new(vec![page.into()]));
        assert!(
            matches!(catalog().accepted(&source, "a").await, Err(NoTool::Unlisted(ListError::Unreadable))),
            "{page}"
        );
    }
    let refused = Pages(Mutex::new(vec![r#"{"id":1,"error":{"code":-32601}}"#.into()]));
    let refusal = catalog().accepted(&refused, "a").await;
    assert!(matches!(refusal, Err(NoTool::Unlisted(ListError::Refused { error: Some(_), .. }))));
    let ambiguous = Pages(Mutex::new(vec![
        r#"{"result":{"tools":[{"name":"a","description":"x","description":"y"}]}}"#.into(),
    ]));
    assert!(matches!(
        catalog().accepted(&ambiguous, "a").await,
        Err(NoTool::Ended(Ended::DefinitionUnusable(_)))
    ));
}

/// Pages of 8 MiB, without end.
#[derive(Debug, Default)]
struct Fat(AtomicUsize);

#[async_trait]
impl ToolSource for Fat {
    async fn page(&self, _: Option<&str>) -> Result<String, ListError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(format!(r#"{{"result":{{"tools":[],"nextCursor":"x"}}}}{}"#, " ".repeat(8 << 20)))
    }

    async fn probe(&self, _: &Question) -> Result<String, ListError> {
        Err(ListError::Unreachable)
    }
}

#[tokio::test]
async fn a_list_is_not_read_to_an_end_that_does_not_come() {
    let fat = Fat::default();
    assert!(matches!(catalog().accepted(&fat, "a").await, Err(NoTool::Unlisted(ListError::TooMany))));
    assert!(fat.0.load(Ordering::Relaxed) < 16);
}

async fn check(schema: Value, arguments: Value) -> Result<(), Ended> {
    let source = pages(&[json!({"tools": [{"name": "a", "inputSchema": schema}]})]);
    let catalog = catalog();
    let tool = catalog.accepted(&source, "a").await.unwrap();
    catalog.validate(&tool, Some(&arguments))
}

#[tokio::test]
async fn arguments_are_checked_in_every_dialect_and_with_exact_numbers() {
    let draft7 = json!({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"p": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/p"}}});
    assert!(check(draft7.clone(), json!({"a": "x"})).await.is_ok());
    assert!(check(draft7, json!({"a": 1})).await.is_err());
    let exact: Value = serde_json::from_str(r#"{"properties":{"n":{"maximum":9007199254740992}}}"#).unwrap();
    assert!(check(exact, serde_json::from_str(r#"{"n":9007199254740993}"#).unwrap()).await.is_err());
    // What the problem is about is named, what was sent is not.
    let secret =
        check(json!({"properties": {"card": {"type": "integer"}}}), json!({"card": "4111-1111"})).await;
    let Err(Ended::InvalidArguments(problem)) = secret else { panic!("{secret:?}") };
    assert!(problem.contains("/card") && !problem.contains("4111"), "{problem}");
}

/// What a server writes into a schema must not make us open files or URLs, spin, or fall over.
#[tokio::test]
async fn hostile_schemas_are_refused_or_bounded() {
    for schema in [
        json!({"$ref": "http://127.0.0.1:1/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "https://example.com/x"}),
        json!({"type": 7}),
        json!({"pattern": "("}),
        json!("string"),
    ] {
        let refused = check(schema.clone(), json!({"a": 1})).await;
        assert!(matches!(refused, Err(Ended::DefinitionUnusable(_))), "{schema}: {refused:?}");
    }
    // A reference to itself says nothing; whichever way it is read, it comes back.
    let _either_is_fine = check(json!({"$ref": "#"}), json!({"a": 1})).await;
    let _either_is_fine = check(json!({"allOf": [{"$ref": "#"}]}), json!({"a": 1})).await;
    let started = std::time::Instant::now();
    for pattern in ["^(a+)+$", "^(?=(a+)+$)"] {
        let schema = json!({"properties": {"a": {"type": "string", "pattern": pattern}}});
        let _either_is_fine = check(schema, json!({"a": "a".repeat(10_000) + "!"})).await;
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
