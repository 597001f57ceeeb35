//! A tool server with a tool, prompt or resource for every corner of the protocol, in both eras.
//!
//! `e2e_fixture` speaks over its own pipes. `e2e_fixture --http 127.0.0.1:0` serves streamable HTTP and says on a line
//! `{"event": "ready", "url": …}` where. `--runs FILE` writes a line for each tool that ran. `--resumable` keeps all events
//! of a stream, for clients that come back with `Last-Event-ID`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use holdpoint_e2e::fixture::{self, Fixture};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut http, mut runs, mut resumable) = (None::<SocketAddr>, None::<PathBuf>, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--http" => http = Some(value()?.parse().context("not an address")?),
            "--runs" => runs = Some(value()?.into()),
            "--resumable" => resumable = true,
            other => bail!("unknown argument `{other}`"),
        }
    }
    let fixture = Fixture::new(runs);
    match http {
        Some(address) => fixture::http(fixture, address, resumable).await,
        None => fixture::stdio(fixture).await,
    }
}
