//! `cargo xtask bench`: what a gate in the path costs.
//!
//! - Load client, proxy, Gate and tool are processes of their own: this program in different roles.
//! - Direct, relayed and held samples are interleaved in rounds; figures are medians of the ratios within a round.
//! - The *bare relay* is the floor: it reads the body, asks where gated, forwards and streams back. No policy, no types.
//! - Everything is on loopback, and bounded in count and time.
//!
//! Absolute times are of the machine and the hour: only ratios travel.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

mod answer;
mod bare_gate;
mod load;
mod process;
mod relay;
mod run;
mod serve;
mod stub_gate;
mod tool;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((role, rest)) = arguments.split_first() else {
        bail!("which role? `run` measures");
    };
    match role.as_str() {
        "run" => run::main(rest),
        "tool-http" => threads()?.block_on(tool::http(rest)),
        "tool-stdio" => tool::stdio(),
        "stub-gate" => threads()?.block_on(stub_gate::serve_stub()),
        "bare-gate" => threads()?.block_on(bare_gate::serve(rest)),
        "relay-http" => threads()?.block_on(relay::http::serve(rest)),
        "relay-stdio" => threads()?.block_on(relay::stdio::pump(rest)),
        "relay-http-stdio" => threads()?.block_on(relay::http_to_stdio::serve(rest)),
        "relay-stdio-http" => threads()?.block_on(relay::stdio_to_http::pump(rest)),
        "load-http" => one_thread()?.block_on(load::http::main(rest)),
        "load-sessions" => one_thread()?.block_on(load::sessions::main(rest)),
        "hold-http" => threads()?.block_on(load::held::main(rest)),
        "hold-bridge" => threads()?.block_on(load::questions::main(rest)),
        "call-http" => one_thread()?.block_on(load::http::call_once(rest)),
        "load-stdio" => load::stdio::main(rest),
        _ => bail!("unknown role `{role}`"),
    }
}

fn threads() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

fn one_thread() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
