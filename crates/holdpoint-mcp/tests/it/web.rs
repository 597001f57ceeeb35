//! A server and the proxy on loopback sockets, and a client that says exactly what it is told to.

use crate::house::{House, TOOLS};
use bytes::Bytes;
use holdpoint_core::{Principal, TaskId};
use holdpoint_mcp::{
    ServerAddress,
    http::{Authenticated, HttpOptions, HttpProxy},
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

type Body = BoxBody<Bytes, Infallible>;

pub(crate) fn server_at(url: &str) -> ServerAddress {
    ServerAddress::Http { url: url.parse().unwrap(), headers: HeaderMap::new() }
}

/// One request as the server got it, and the way to answer it.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    answer: oneshot::Sender<Response<Body>>,
}

impl Asked {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn answer(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let _gone = self.answer.send(response(status, headers, Full::new(body.into()).boxed()));
    }

    pub(crate) fn json(self, body: impl Into<Bytes>) {
        self.answer(200, &[("content-type", "application/json")], body);
    }

    /// Answers with a stream that the test writes.
    pub(crate) fn stream(self) -> mpsc::Sender<Bytes> {
        let (sender, receiver) = mpsc::channel(16);
        let frames =
            futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
                let bytes = receiver.recv().await?;
                Some((Ok::<_, Infallible>(hyper::body::Frame::data(bytes)), receiver))
            });
        let body = BodyExt::boxed(StreamBody::new(frames));
        let _gone = self.answer.send(response(200, &[("content-type", "text/event-stream")], body));
        sender
    }
}

fn response(status: u16, headers: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

pub(crate) struct Web {
    pub(crate) house: House,
    pub(crate) proxy: HttpProxy,
    asked: tokio::sync::Mutex<mpsc::Receiver<Asked>>,
    /// What the server says of its tools; nothing: the test answers for it.
    pub(crate) tools: Arc<Mutex<String>>,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) url: String,
    pub(crate) address: std::net::SocketAddr,
}

impl Web {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut HttpOptions)) -> Self {
        Self::in_house(House::new(), change).await
    }

    pub(crate) async fn in_house(house: House, change: impl FnOnce(&mut HttpOptions)) -> Self {
        Self::called_by(House::principal(), house, change).await
    }

    /// Where requests that say nothing else are this caller's.
    pub(crate) async fn called_by(
        caller: Principal,
        house: House,
        change: impl FnOnce(&mut HttpOptions),
    ) -> Self {
        let tools = Arc::new(Mutex::new(TOOLS.to_owned()));
        let (sender, asked) = mpsc::channel(2_000);
        let server = serve_tools(Arc::clone(&tools), sender).await;
        let server = server_at(&format!("http://{server}/mcp"));
        let mut options = HttpOptions::new(house.guard.clone(), server, TaskId::new("process"));
        change(&mut options);
        let proxy = HttpProxy::new(options).unwrap();
        let address = serve_proxy(proxy.clone(), caller).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let asked = tokio::sync::Mutex::new(asked);
        let url = format!("http://{address}/servers/files/mcp");
        Self { house, proxy, asked, tools, client, url, address }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(&self.url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> Response<Incoming> {
        self.post_with(&[], body).await
    }

    pub(crate) async fn post_with(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let usual = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        self.send(Method::POST, &[&usual, headers].concat(), body).await
    }

    /// The next request that the server gets, lists of its tools apart.
    pub(crate) async fn asked(&self) -> Asked {
        self.asked.lock().await.recv().await.unwrap()
    }

    /// Nothing reached the server since the last look.
    pub(crate) async fn server_saw_nothing(&self) {
        let ping = r#"{"jsonrpc":"2.0","id":"probe","method":"ping"}"#;
        let (answer, ()) = tokio::join!(self.client.request(self.request(ping)), async {
            let asked = self.asked().await;
            assert_eq!(asked.text(), ping);
            asked.json("{}");
        });
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }

    fn request(&self, body: &'static str) -> Request<Full<Bytes>> {
        let request = Request::post(&self.url).header("content-type", "application/json");
        request.body(Full::new(Bytes::from(body))).unwrap()
    }
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// The stream of a response, event by event.
pub(crate) struct Stream {
    body: Incoming,
    buffer: String,
}

impl Stream {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), buffer: String::new() }
    }

    /// The next event or comment; `None`: the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let event = event.to_owned();
                self.buffer = rest.into();
                return Some(event);
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> String {
        loop {
            let event = self.next().await.expect("another event");
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                return data.to_owned();
            }
        }
    }
}

pub(crate) async fn serve_tools(
    tools: Arc<Mutex<String>>,
    asked: mpsc::Sender<Asked>,
) -> std::net::SocketAddr {
    accept(move |request: Request<Incoming>| {
        let (tools, asked) = (tools.lock().unwrap().clone(), asked.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if let Some(id) = own_list_id(&body).filter(|_| !tools.is_empty()) {
                let page = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools}}}}}"#);
                return response(200, &[("content-type", "application/json")], Full::from(page).boxed());
            }
            let (answer, answered) = oneshot::channel();
            let _over =
                asked.send(Asked { method: parts.method, headers: parts.headers, body, answer }).await;
            // A server that never answers keeps the connection open.
            match answered.await {
                Ok(response) => response,
                Err(_) => std::future::pending().await,
            }
        }
    })
    .await
}

pub(crate) async fn serve_proxy(proxy: HttpProxy, caller: Principal) -> std::net::SocketAddr {
    accept(move |mut request: Request<Incoming>| {
        let proxy = proxy.clone();
        // Who it is has been found out before a request gets here.
        let name = request.headers_mut().remove("x-test-principal");
        let principal = name.map(|name| Principal::new(name.to_str().unwrap()));
        let principal = principal.unwrap_or_else(|| caller.clone());
        let good_for = request.headers_mut().remove("x-test-good-for");
        let good_for =
            good_for.map(|seconds| Duration::from_secs(seconds.to_str().unwrap().parse().unwrap()));
        let caller = match good_for {
            Some(good_for) => Authenticated::expiring(principal, good_for),
            None => Authenticated::standing(principal),
        };
        async move { proxy.serve(request, caller).await }
    })
    .await
}

async fn accept<F, W, B>(each: F) -> std::net::SocketAddr
where
    F: Fn(Request<Incoming>) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let each = each.clone();
            tokio::spawn(serve_connection(stream, each));
        }
    });
    address
}

async fn serve_connection<F, W, B>(stream: TcpStream, each: F)
where
    F: Fn(Request<Incoming>) -> W,
    W: Future<Output = Response<B>>,
    B: hyper::body::Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let answer = each(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _client_may_leave =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn own_list_id(body: &[u8]) -> Option<String> {
    let message: serde_json::Value = serde_json::from_slice(body).ok()?;
    let id = message.get("id")?.as_str()?;
    (id.starts_with("holdpoint-") && message["method"] == "tools/list").then(|| message["id"].to_string())
}
