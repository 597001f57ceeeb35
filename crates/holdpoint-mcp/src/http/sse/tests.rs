use super::{Event, Events, message};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use std::convert::Infallible;

async fn events(chunks: Vec<Bytes>) -> Vec<Bytes> {
    let frames = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(hyper::body::Frame::data(chunk)));
    let mut events = Events::new(StreamBody::new(futures_util::stream::iter(frames)), 1 << 10);
    let mut all = Vec::new();
    while let Ok(Some(Event(bytes))) = events.next().await {
        all.push(bytes);
    }
    all
}

/// However it is cut, every byte comes out once and every event whole.
#[tokio::test]
async fn events_come_in_any_pieces() {
    for text in ["a: 1\nb\n\n: c\n\ndata: d\n\nrest", "a\r\n\r\nb\r\n\r\n", "a\r\rb\n\r\n", "\n\n\n"] {
        for size in 1..=text.len() {
            let chunks = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(events(chunks).await.concat(), text.as_bytes(), "{text:?} by {size}");
        }
    }
    let whole = events(vec!["data: 1\n\ndata: 2\r\n\r\n".into()]).await;
    assert_eq!(whole, ["data: 1\n\n", "data: 2\r\n\r\n"]);
}

#[tokio::test]
async fn an_event_too_large_ends_the_stream() {
    let mut events = Events::new(Full::new(Bytes::from(vec![b'x'; 2_000])).boxed(), 1_000);
    assert!(events.next().await.is_err());
}

#[test]
fn data_is_joined_as_the_format_says() {
    let event = |text: &'static str| Event(Bytes::from_static(text.as_bytes()));
    assert_eq!(event("event: x\ndata: a\r\ndata:b\ndata\ndatax: no\n\n").data().as_deref(), Some("a\nb\n"));
    assert_eq!(event(": only a comment\n\n").data(), None);
    assert_eq!(event("id: 1\ndata: a\ndata: b\n\n").with_data(b"{\n}"), "id: 1\ndata: { }\n\n");
    assert_eq!(message(b"{}"), "event: message\ndata: {}\n\n");
}
