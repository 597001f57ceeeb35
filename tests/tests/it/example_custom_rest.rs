//! `examples/custom-rest`: the commands of its README, against the real bridge and against one that lies.

use crate::bridge::Office;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Ran, here, node};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ID: &str = "op_0123456789012345678901234567890123456789";

fn example() -> PathBuf {
    here().join("../examples/custom-rest")
}

/// The README's commands: one for each client.
fn commands() -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(example().join("README.md")).context("no README")?;
    let commands: Vec<String> =
        readme.lines().filter(|line| line.ends_with("&& echo refunded")).map(str::to_owned).collect();
    for file in ["gate.sh", "gate.py", "gate.ts"] {
        let count = commands.iter().filter(|command| command.contains(file)).count();
        ensure!(count == 1, "{count} commands with {file} in the README");
    }
    Ok(commands)
}

/// Runs a command of the README about another tool of Gate's.
fn run(command: &str, tool: &str, (url, key): (&str, &str), wait: u32) -> Result<Ran> {
    let about = command.replacen(" refund ", &format!(" {tool} "), 1);
    ensure!(tool == "refund" || about != command, "the README asks about another tool: {command}");
    let node = node();
    let path = node.parent().context("a file in a folder")?.display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-c", &about]).current_dir(example()).env_clear().env("PATH", path).env("LANG", "C.UTF-8");
    shell.env("PYTHONDONTWRITEBYTECODE", "1").env("BRIDGE_KEY", key);
    Ran::to_end(shell.env("BRIDGE_URL", url).env("WAIT", wait.to_string()).env("TRIES", "2"))
}

/// Ended so, and went on only with 0.
fn ended(ran: &Ran, code: i32) -> Result<()> {
    ensure!(ran.code == Some(code), "not {code}: {ran:?}");
    ensure!(ran.stdout.contains("refunded") == (code == 0), "{ran:?}");
    Ok(())
}

#[test]
fn each_client_ends_as_was_decided() -> Result<()> {
    let (office, key) = Office::open_to_callers()?;
    let (_server, bridge) = office.bridge()?;
    let door = (bridge.url(), key.as_str());
    for command in commands()? {
        ended(&run(&command, "safe", door, 5)?, 0).context(command.clone())?;
        ended(&run(&command, "never", door, 5)?, 10).context(command.clone())?;
        ended(&run(&command, "refund", door, 0)?, 11).context(command.clone())?;
        ended(&run(&command, "safe", (bridge.url(), "hpc_wrong"), 5)?, 12).context(command.clone())?;
        ended(&run(&command, "safe", ("http://127.0.0.1:1", &key), 0)?, 12).context(command.clone())?;
        reviewed(&office, door, &command)?;
    }
    Ok(())
}

/// What a person decides while it waits.
fn reviewed(office: &Office, door: (&str, &str), command: &str) -> Result<()> {
    for (approved, code) in [(true, 0), (false, 10)] {
        let before: Vec<Value> = office.house().inbox()?;
        let ran = std::thread::scope(|scope| -> Result<Ran> {
            let running = scope.spawn(|| run(command, "refund", door, 60));
            let open = office.house().inbox_of(before.len() + 1)?;
            let new = open.iter().find(|thread| !before.contains(thread)).context("nothing new")?;
            ensure!(new["payload"]["customer"] == "C-7" && new["subject"] == "Refund 12.50 to C-7", "{new}");
            let thread = new["thread_id"].as_str().context("no thread")?;
            if approved {
                office.house().approve(thread, "fine")?;
            } else {
                office.house().reject(thread, "no")?;
            }
            running.join().map_err(|_panic| anyhow::anyhow!("it panicked"))?
        })?;
        ended(&ran, code).context(command.to_owned())?;
    }
    Ok(())
}

/// Says the same to everybody, and counts.
struct Liar {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    fn new(answer: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let url = format!("http://{}", listener.local_addr().context("no address")?);
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _unread = read(&stream);
                counted.fetch_add(1, Ordering::SeqCst);
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        Ok(Self { url, asked })
    }
}

/// A request, to its end.
fn read(stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        line.clear();
    }
    Ok(reader.read_exact(&mut vec![0; length])?)
}

fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let (headers, length) = (headers.join("\r\n"), body.len());
    format!("HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn body(decision: &str, tool: &str, mode: &str) -> String {
    serde_json::json!({
        "decision": decision, "status": "allowed", "id": ID, "mode": mode, "tool_name": tool, "task_id": "t",
        "detail": "The rules allow this.",
    })
    .to_string()
}

#[test]
fn a_bridge_that_lies_is_not_believed() -> Result<()> {
    const JSON: &str = "content-type: application/json";
    const ALLOW: &str = "holdpoint-decision: allow";
    let yes = body("allow", "safe", "check");
    let place = format!("location: /v1/decisions/{ID}");
    let lies = [
        answer("200 OK", &[JSON], &yes),
        answer("200 OK", &["content-type: text/html"], "<p>allow</p>"),
        answer("200 OK", &["content-type: text/html", ALLOW], "<p>allow</p>"),
        answer("200 OK", &["content-type: text/html", ALLOW], &yes),
        answer("302 Found", &[JSON, ALLOW, &place], &yes),
        answer("200 OK", &[JSON, "holdpoint-decision: allow, deny"], &yes),
        answer("200 OK", &[JSON, ALLOW, "holdpoint-decision: deny"], &yes),
        answer("200 OK", &[JSON, "holdpoint-decision: ALLOW"], &yes),
        answer("200 OK", &[JSON, "holdpoint-decision: deny"], &yes),
        answer("202 Accepted", &[JSON, ALLOW], &yes),
        answer("201 Created", &[JSON, ALLOW], &yes),
        answer("403 Forbidden", &[JSON, ALLOW], &yes),
        answer("200 OK", &[JSON, ALLOW], &body("deny", "safe", "check")),
        answer("200 OK", &[JSON, ALLOW], &body("ALLOW", "safe", "check")),
        answer("200 OK", &[JSON, ALLOW], &body("allow", "other", "check")),
        answer("200 OK", &[JSON, ALLOW], &body("allow", "safe", "execute")),
        answer("200 OK", &[JSON, ALLOW], ""),
        answer("200 OK", &[JSON, ALLOW], &format!("{yes}{yes}")),
        answer("500 Internal Server Error", &[JSON, ALLOW], &yes),
        String::new(),
    ];
    let commands = commands()?;
    for lie in lies {
        for command in &commands {
            let liar = Liar::new(lie.clone())?;
            let ran = run(command, "safe", (&liar.url, "hpc_any"), 0)?;
            ended(&ran, 12).with_context(|| format!("{command} believed:\n{lie}"))?;
            ensure!(liar.asked.load(Ordering::SeqCst) > 0, "nobody asked: {ran:?}");
        }
    }
    // The same without a lie in it.
    for command in &commands {
        let honest = Liar::new(answer("200 OK", &[JSON, ALLOW], &yes))?;
        ended(&run(command, "safe", (&honest.url, "hpc_any"), 0)?, 0).with_context(|| command.clone())?;
    }
    Ok(())
}
