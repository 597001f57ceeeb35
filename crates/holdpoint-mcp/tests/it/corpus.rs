//! Messages of five protocol revisions, ordinary and odd, of which a typed model changes or refuses more than half.

use crate::{
    house::{House, code},
    pipe::Pipes,
    web::{Asked, Stream, Web, text},
};
use holdpoint_mcp::Action;

const CLIENT: &str = include_str!("corpus/client.tsv");
const SERVER: &str = include_str!("corpus/server.tsv");

fn samples(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().map(|line| line.split_once('\t').unwrap())
}

/// The one whose tool nobody can tell; so nobody can say whether it may run.
const REFUSED: &str = "call: name number (invalid)";

#[test]
fn there_are_hundreds_of_each_revision() {
    assert!(samples(CLIENT).count() + samples(SERVER).count() >= 400);
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let named = |text| samples(text).filter(|(name, _)| name.starts_with(revision)).count();
        assert!(
            named(CLIENT) >= 25 && named(SERVER) >= 22,
            "{revision}: {} {}",
            named(CLIENT),
            named(SERVER)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn all_cross_byte_for_byte() {
    let mut pipes = Pipes::new();
    pipes.house.set("t", Action::Pass);
    pipes.initialize("2025-03-26").await;
    for (name, sample) in samples(CLIENT) {
        pipes.say(sample).await;
        if name == REFUSED {
            assert_eq!(code(&pipes.heard().await), -32602);
            continue;
        }
        assert_eq!(pipes.seen().await, sample, "{name}");
        if let Some(id) = initialize_id(sample) {
            let revision = r#"{"protocolVersion":"2025-03-26"}"#;
            pipes.answer(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{revision}}}"#)).await;
            pipes.heard().await;
        }
    }
    for (name, sample) in samples(SERVER) {
        pipes.answer(sample).await;
        assert_eq!(pipes.heard().await, sample, "{name}");
    }
}

fn initialize_id(sample: &str) -> Option<serde_json::Value> {
    let message: serde_json::Value = serde_json::from_str(sample).ok()?;
    (message.get("method")? == "initialize").then(|| message["id"].clone())
}

/// The same with a call held and its progress watched: then every message of the server is looked at.
#[tokio::test(start_paused = true)]
async fn all_cross_while_a_call_is_held() {
    let mut pipes = Pipes::new();
    pipes
        .say(r#"{"jsonrpc":"2.0","id":"held","method":"tools/call","params":{"name":"t","_meta":{"progressToken":"mine"}}}"#)
        .await;
    assert!(pipes.heard().await.contains("notifications/progress"));
    for (name, sample) in samples(SERVER) {
        pipes.answer(sample).await;
        assert_eq!(pipes.heard().await, sample, "{name}");
    }
}

/// The headers that the stateless revision wants beside a message.
fn headers_of(sample: &str) -> Vec<(&'static str, String)> {
    let message: serde_json::Value = serde_json::from_str(sample).unwrap_or_default();
    let params = &message["params"];
    let Some(version) = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str() else {
        return Vec::new();
    };
    let method = message["method"].as_str().unwrap().to_owned();
    let named = match &*method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
        _ => None,
    };
    let mut headers = vec![("mcp-protocol-version", version.to_owned()), ("mcp-method", method)];
    headers.extend(named.map(|name| ("mcp-name", name.to_owned())));
    headers
}

/// How a server answers over HTTP.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Stream,
}

impl Form {
    async fn answer(self, asked: Asked, sample: &'static str) {
        match self {
            Self::Json => asked.json(sample),
            Self::Stream => {
                let stream = asked.stream();
                stream.send(format!("id: 7\ndata: {sample}\n\n").into()).await.unwrap();
            }
        }
    }
}

async fn all_cross_over_http(form: Form) {
    let house = House::new();
    house.set("t", Action::Pass);
    let web = Web::in_house(house, |_| {}).await;
    let mut answers = samples(SERVER);
    for (name, sample) in samples(CLIENT) {
        let headers = headers_of(sample);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if name == REFUSED {
            assert_eq!(code(&text(web.post_with(&headers, sample).await).await), -32602);
            continue;
        }
        let (_, answer) = answers.next().expect("the server has more to say than the client");
        let (response, ()) = tokio::join!(web.post_with(&headers, sample), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), sample, "{name}");
            form.answer(asked, answer).await;
        });
        match form {
            Form::Json => assert_eq!(text(response).await, answer, "{name}"),
            Form::Stream => assert_eq!(Stream::new(response).message().await, answer, "{name}"),
        }
    }
    for (name, answer) in answers {
        let (response, ()) =
            tokio::join!(web.post(PING), async { form.answer(web.asked().await, answer).await });
        match form {
            Form::Json => assert_eq!(text(response).await, answer, "{name}"),
            Form::Stream => assert_eq!(Stream::new(response).message().await, answer, "{name}"),
        }
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":"more","method":"ping"}"#;

#[tokio::test]
async fn all_cross_over_http_as_json() {
    all_cross_over_http(Form::Json).await;
}

#[tokio::test]
async fn all_cross_over_http_in_streams() {
    all_cross_over_http(Form::Stream).await;
}
