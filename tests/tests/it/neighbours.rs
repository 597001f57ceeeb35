//! One data folder, and more than one who uses it: configurations, processes, people, other users of the machine.

use crate::setup::{Setup, call, text};
use crate::told::decision;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Link, Route, nobody};
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// Nothing is expected in this time.
const SHORTLY: Duration = Duration::from_secs(1);
/// Something is.
const SOON: Duration = Duration::from_secs(20);

fn pay() -> Value {
    call("job", "gated", &json!({ "order_id": "o1" }))
}

fn setup() -> Result<Setup> {
    Setup::new(Route::Stdio, &json!([{ "name": "gated", "action": "gate" }]))
}

/// The configuration with one thing about its server changed; nobody waits long.
fn with_server(setup: &Setup, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut config = setup.config();
    config["hold"]["patience"] = json!("1s");
    change(&mut config["servers"]["till"]);
    setup.house.configure(&config)
}

/// Two projects of one user have a server of the same name, or a configuration was edited: what a reviewer approved for the
/// one server is no approval for the other.
fn never_runs_at_another_server(change: impl FnOnce(&mut Value)) -> Result<()> {
    let setup = setup()?;
    with_server(&setup, |_| {})?;
    let mut link = setup.link()?;
    let told = link.call("1", &pay())?;
    ensure!(decision(&told)["status"] == "pending", "{told}");
    link.close()?;
    setup.desk.admin.approve(text(&decision(&told)["thread_id"]))?;

    with_server(&setup, change)?;
    let mut link = Link::open(&setup.house, Route::Stdio)?;
    let other = link.call("1", &pay())?;
    ensure!(decision(&other)["status"] == "pending", "{other}");
    ensure!(decision(&other)["thread_id"] != decision(&told)["thread_id"], "a question of its own: {other}");
    ensure!(setup.till.runs()?.is_empty(), "it ran: {:?}", setup.till.runs()?);
    link.close()?;

    // The approval still is one for the server that it was given for.
    with_server(&setup, |_| {})?;
    let mut link = Link::open(&setup.house, Route::Stdio)?;
    let told = link.call("1", &pay())?;
    ensure!(setup.till.runs()?.len() == 1, "{told}: {:?}", setup.till.runs()?);
    link.close()
}

#[test]
fn an_approval_never_runs_in_another_account() -> Result<()> {
    never_runs_at_another_server(|server| server["env"] = json!({ "ACCOUNT": "production" }))
}

#[test]
fn an_approval_never_runs_by_another_command() -> Result<()> {
    never_runs_at_another_server(|server| {
        if let Some(command) = server["command"].as_array_mut() {
            command.push(json!("--production"));
        }
    })
}

#[test]
fn an_approval_never_runs_in_another_folder() -> Result<()> {
    never_runs_at_another_server(|server| server["cwd"] = json!("/"))
}

/// What waits may be approved and run while a person says that it did not run.
#[test]
fn nobody_says_what_came_of_a_call_that_was_not_sent() -> Result<()> {
    let setup = setup()?;
    let mut link = setup.link()?;
    let thread = setup.hold(&mut link, "1", &pay())?;
    let id = text(&thread["thread_id"]);
    let resolved = setup.house.run(&["holds", "resolve", id, "--did-not-run"])?;
    ensure!(resolved.code == Some(1) && resolved.stderr.contains("is pending"), "{resolved:?}");
    let shown = setup.house.run(&["audit", "show", id])?.success()?;
    ensure!(shown.contains("waits for a person"), "{shown}");
    ensure!(!shown.contains("did not run"), "the record has a word that nobody was entitled to: {shown}");
    setup.approve(&thread)?;
    link.answer("1")?;
    ensure!(setup.till.runs()?.len() == 1, "{:?}", setup.till.runs()?);
    link.close()
}

/// Whoever can reach the listener for webhooks can open connections. They must not take the file descriptors that journal and
/// audit log need.
#[test]
fn strangers_at_the_doorbell_are_few_at_once() -> Result<()> {
    const PLACES: usize = 64;
    let setup = setup()?;
    let listen = nobody()?.trim_start_matches("http://").to_owned();
    let mut config = setup.config();
    config["gate"]["webhook"] = json!({ "listen": listen });
    setup.house.configure(&config)?;
    let mut link = setup.link()?;

    let knock = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&listen)?;
        stream.set_read_timeout(Some(SHORTLY))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
        Ok(stream)
    };
    let is_answered = |mut stream: &TcpStream| stream.read(&mut [0; 12]).is_ok_and(|bytes| bytes > 0);
    let mut strangers = Vec::new();
    for _ in 0..PLACES {
        let stranger = knock()?;
        ensure!(is_answered(&stranger), "there is room");
        strangers.push(stranger);
    }
    let late = knock()?;
    ensure!(!is_answered(&late), "one more than there is room for");

    let thread = setup.hold(&mut link, "1", &pay())?;
    setup.approve(&thread)?;
    link.answer("1")?;
    ensure!(setup.till.runs()?.len() == 1, "{:?}", setup.till.runs()?);
    strangers.clear();
    late.set_read_timeout(Some(SOON))?;
    ensure!(is_answered(&late), "now there is room");
    link.close()
}

/// A neighbour that was stopped with the lock in hand: the call that needs it is refused, and the others go on.
#[test]
fn a_stopped_neighbour_stops_nobody() -> Result<()> {
    let tools = json!([{ "name": "gated", "action": "gate" }, { "name": "refund", "action": "pass" }]);
    let setup = Setup::new(Route::Stdio, &tools)?;
    let mut link = setup.link()?;
    let passes = call("job", "refund", &json!({ "order_id": "o2" }));
    link.call("1", &passes)?;
    let lock = std::fs::File::open(setup.house.data().join("pins/lock"))?;
    lock.lock()?;
    link.start("2", &pay())?;
    link.call("3", &passes)?;
    let refused = link.answer("2")?;
    ensure!(refused.to_string().contains("unavailable"), "{refused}");
    ensure!(setup.till.runs()?.len() == 2, "{:?}", setup.till.runs()?);
    link.close()
}

/// An agent starts all its proxies at the same moment, on a data folder that is not there yet.
#[test]
fn many_proxies_start_at_once() -> Result<()> {
    const AT_ONCE: usize = 24;
    let setup = setup()?;
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| setup.link()?.close())).collect();
        starts.into_iter().try_for_each(|start| start.join().ok().context("a panic")?)
    })
}

/// The databases hold arguments as they were sent, and answers: no business of other users, whatever the umask and whoever
/// made the folder.
#[test]
fn other_users_cannot_read_the_databases() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &std::path::Path| Ok::<_, anyhow::Error>(path.metadata()?.permissions().mode() & 0o777);
    let setup = setup()?;
    std::fs::create_dir_all(setup.house.data())?;
    std::fs::set_permissions(setup.house.data(), std::fs::Permissions::from_mode(0o775))?;
    let mut link = setup.link()?;
    setup.hold(&mut link, "1", &pay())?;
    let mut seen = 0;
    for entry in std::fs::read_dir(setup.house.data())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal.db"))
            && path.extension().is_none_or(|extension| extension != "lock")
        {
            ensure!(mode(&path)? == 0o600, "{}: {:o}", path.display(), mode(&path)?);
            seen += 1;
        }
    }
    ensure!(seen > 0, "no journal");
    link.close()
}
