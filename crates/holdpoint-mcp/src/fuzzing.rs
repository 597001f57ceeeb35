//! Doors to parsers, for fuzz targets.

use crate::http::Events;
use bytes::Bytes;
use http_body_util::StreamBody;
use std::convert::Infallible;

const EVENT_BYTES_MAX: usize = 1 << 16;

/// Reads `bytes` as server-sent events that arrive `cut` bytes at a time.
///
/// # Panics
/// A byte is lost, or made up, or an event is cut at another place than it is when it arrives at once.
pub fn events(bytes: &[u8], cut: usize) {
    let (in_pieces, at_once) = (all(bytes, cut), all(bytes, bytes.len().max(1)));
    if bytes.len() <= EVENT_BYTES_MAX {
        assert_eq!(in_pieces.concat(), bytes);
        assert_eq!(in_pieces, at_once);
    }
}

fn all(bytes: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<_> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(http_body::Frame::data(piece)));
    let mut events = Events::new(StreamBody::new(futures_util::stream::iter(frames)), EVENT_BYTES_MAX);
    let mut all = Vec::new();
    // Nothing in it waits for anything.
    while let Some(Ok(Some(event))) = futures_util::FutureExt::now_or_never(events.next()) {
        if let Some(data) = event.data() {
            assert!(all.len() < bytes.len() && data.len() <= bytes.len());
        }
        all.push(event.bytes().to_vec());
    }
    all
}
