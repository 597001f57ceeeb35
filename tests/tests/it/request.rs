//! `holdpoint request`: a yes is exit code 0 and one run of the command; everything else is another code and none.

use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{House, Server, nobody};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Gate with three tools, and a file in which commands note that they ran.
pub(crate) struct Shell {
    pub(crate) house: House,
    _gate: Server,
}

impl Shell {
    pub(crate) fn open() -> Result<Self> {
        let mut house = House::new()?;
        house.declare(&json!({
            "agents": [{ "name": "somebody", "signed_tokens": true }],
            "tools": [
                { "name": "safe", "default_action": "allow" },
                { "name": "never", "default_action": "reject" },
                { "name": "deploy", "default_action": "review" },
            ],
        }))?;
        let gate = house.serve()?;
        Ok(Self { house, _gate: gate })
    }

    fn ran(&self) -> PathBuf {
        self.house.path().join("ran")
    }

    pub(crate) fn runs(&self) -> usize {
        std::fs::read_to_string(self.ran()).unwrap_or_default().lines().count()
    }

    /// A command that notes that it ran, and what it was told.
    fn noting(code: u8) -> [String; 5] {
        let note = format!("echo \"$1 ${{STACKSONA_API_KEY:-none}}\" >> \"$2\"; exit {code}");
        let texts = ["sh", "-c", &note, "sh", "production"];
        texts.map(str::to_owned)
    }

    fn command(&self, tool: &str, wait: &str, run: &[String]) -> Command {
        let mut arguments =
            vec!["request", "--json", "--tool", tool, "--subject", "Deploy 7", "--wait", wait];
        if !run.is_empty() {
            arguments.extend(["--run", "--"]);
            arguments.extend(run.iter().map(String::as_str));
        }
        let ran = self.ran().display().to_string();
        if !run.is_empty() {
            arguments.push(&ran);
        }
        let mut command = self.house.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a request to its end.
    fn request(&self, tool: &str, wait: &str, run: &[String]) -> Result<(Option<i32>, Value)> {
        ended(self.command(tool, wait, run).spawn()?)
    }

    pub(crate) fn thread(&self) -> Result<String> {
        let inbox = self.house.inbox_of(1)?;
        Ok(inbox[0]["thread_id"].as_str().context("no thread")?.to_owned())
    }
}

fn ended(child: Child) -> Result<(Option<i32>, Value)> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    let said = serde_json::from_str(&said).unwrap_or(Value::Null);
    Ok((output.status.code(), said))
}

fn status_within(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn rules_decide_at_once() -> Result<()> {
    let shell = Shell::open()?;
    let (code, said) = shell.request("safe", "5s", &Shell::noting(0))?;
    assert_eq!(
        (code, &said["status"], &said["ran"], shell.runs()),
        (Some(0), &json!("allowed"), &json!(true), 1)
    );
    let note = std::fs::read_to_string(shell.house.path().join("ran"))?;
    assert_eq!(note, "production none\n", "the key to Gate is not the command's");
    let (code, said) = shell.request("never", "5s", &Shell::noting(0))?;
    assert_eq!((code, &said["decision"], &said["status"]), (Some(10), &json!("deny"), &json!("rejected")));
    assert_eq!(shell.request("safe", "5s", &[])?.0, Some(0));
    assert_eq!(shell.request("never", "5s", &[])?.0, Some(10));
    assert_eq!(shell.runs(), 1);
    Ok(())
}

#[test]
fn a_person_decides_and_the_command_runs_once() -> Result<()> {
    let shell = Shell::open()?;
    let child = shell.command("deploy", "30s", &Shell::noting(7)).spawn()?;
    let thread = shell.thread()?;
    let shown = shell.house.inbox_of(1)?;
    assert_eq!(shown[0]["subject"], "Deploy 7");
    shell.house.approve(&thread, "go")?;
    let (code, said) = ended(child)?;
    assert_eq!((code, &said["exit_code"]), (Some(7), &json!(7)), "the exit code is the command's");
    assert_eq!((&said["thread_id"], shell.runs()), (&json!(thread), 1));
    // The same again is a new request: this one was used.
    let (code, said) = shell.request("deploy", "200ms", &Shell::noting(7))?;
    assert_eq!((code, &said["decision"], shell.runs()), (Some(11), &json!("pending"), 1));
    shell.house.reject(&shell.thread()?, "not today")?;
    let (code, said) = shell.request("deploy", "5s", &Shell::noting(7))?;
    assert_eq!(code, Some(10), "it joined the review that was open");
    assert_eq!((&said["message"], shell.runs()), (&json!("not today"), 1));
    Ok(())
}

#[test]
fn an_approval_is_for_one_command_line() -> Result<()> {
    let shell = Shell::open()?;
    assert_eq!(shell.request("deploy", "200ms", &Shell::noting(0))?.0, Some(11));
    shell.house.approve(&shell.thread()?, "go")?;
    let mut other = Shell::noting(0);
    other[4] = "staging".to_owned();
    let (code, _) = shell.request("deploy", "200ms", &other)?;
    assert_eq!((code, shell.runs()), (Some(11), 0), "another one waits for its own");
    assert_eq!(shell.request("deploy", "5s", &Shell::noting(0))?.0, Some(0));
    assert_eq!(shell.runs(), 1);
    Ok(())
}

#[test]
fn two_that_ask_the_same_run_it_once() -> Result<()> {
    let shell = Shell::open()?;
    let one = shell.command("deploy", "30s", &Shell::noting(0)).spawn()?;
    let thread = shell.thread()?;
    let two = shell.command("deploy", "30s", &Shell::noting(0)).spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shell.house.inbox_of(1)?.len(), 1, "the second joins");
    shell.house.approve(&thread, "go")?;
    let codes = [ended(one)?.0, ended(two)?.0];
    ensure!(codes.contains(&Some(0)), "{codes:?}");
    assert_eq!(shell.runs(), 1, "{codes:?}");
    Ok(())
}

#[test]
fn one_that_is_killed_while_it_waits_runs_nothing_and_is_joined() -> Result<()> {
    let shell = Shell::open()?;
    let mut child = shell.command("deploy", "30s", &Shell::noting(0)).spawn()?;
    let thread = shell.thread()?;
    child.kill()?;
    child.wait()?;
    shell.house.approve(&thread, "go")?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shell.runs(), 0, "nobody is there for whom it would run");
    assert_eq!(shell.request("deploy", "5s", &Shell::noting(0))?.0, Some(0));
    assert_eq!(shell.runs(), 1);
    Ok(())
}

#[test]
fn one_that_is_asked_to_end_leaves_its_review_open() -> Result<()> {
    let shell = Shell::open()?;
    let mut child = shell.command("deploy", "30s", &Shell::noting(0)).spawn()?;
    shell.thread()?;
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    ensure!(asked.success(), "kill failed");
    let status = status_within(&mut child, PATIENCE)?.context("it goes on")?;
    assert_eq!((status.code(), shell.runs()), (Some(11), 0));
    Ok(())
}

#[test]
fn what_cannot_be_asked_or_started_is_neither_yes_nor_no() -> Result<()> {
    let mut shell = Shell::open()?;
    let (code, said) = shell.request("safe", "5s", &["/no/such/program".to_owned()])?;
    assert_eq!((code, &said["ran"]), (Some(12), &json!(false)));
    for wrong in [
        vec!["request", "--tool", "safe", "--subject", "x", "--run"],
        vec!["request", "--tool", "safe", "--subject", "x", "--", "true"],
        vec!["request", "--tool", "safe"],
        vec!["request", "--tool", "safe", "--subject", "x", "--payload", "[1]"],
        vec!["request", "--tool", "safe", "--subject", "x", "--payload", r#"{"a":1,"a":2}"#],
        vec!["request", "--tool", "safe", "--subject", "x", "--field", "a"],
        vec!["request", "--tool", "safe", "--subject", "x", "--field", "command=x", "--run", "--", "true"],
    ] {
        assert_eq!(shell.house.command(&wrong).output()?.status.code(), Some(2), "{wrong:?}");
    }
    shell.house.set_env("STACKSONA_GATE_URL", &nobody()?);
    let (code, said) = shell.request("safe", "5s", &Shell::noting(0))?;
    assert_eq!((code, &said["status"], shell.runs()), (Some(12), &json!("unavailable"), 0));
    shell.house.unset_env("STACKSONA_GATE_URL");
    assert_eq!(shell.request("safe", "5s", &Shell::noting(0))?.0, Some(2), "no Gate was named");
    assert_eq!(shell.runs(), 0);
    Ok(())
}

/// Exit code 0 is the yes itself: a second one would be a second run of whatever the script does next.
#[test]
fn one_yes_is_one_exit_code_0() -> Result<()> {
    let shell = Shell::open()?;
    let one = shell.command("deploy", "5s", &[]).spawn()?;
    let thread = shell.thread()?;
    let two = shell.command("deploy", "5s", &[]).spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    shell.house.approve(&thread, "go")?;
    let codes = [ended(one)?.0, ended(two)?.0];
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    Ok(())
}

#[test]
fn an_approval_is_for_one_folder() -> Result<()> {
    let shell = Shell::open()?;
    assert_eq!(shell.request("deploy", "200ms", &Shell::noting(0))?.0, Some(11));
    shell.house.approve(&shell.thread()?, "go")?;
    let elsewhere = shell.house.path().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let mut command = shell.command("deploy", "200ms", &Shell::noting(0));
    let (code, _) = ended(command.current_dir(&elsewhere).spawn()?)?;
    assert_eq!((code, shell.runs()), (Some(11), 0));
    // Shown to a reviewer, all names that are no text look the same.
    #[cfg(target_os = "linux")]
    {
        let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
        let odd = shell.house.path().join::<&std::ffi::OsStr>(odd);
        std::fs::create_dir(&odd)?;
        let mut command = shell.command("safe", "5s", &Shell::noting(0));
        let (code, _) = ended(command.current_dir(&odd).spawn()?)?;
        assert_eq!((code, shell.runs()), (Some(2), 0));
    }
    Ok(())
}

#[test]
fn a_command_that_is_told_to_end_is_on_record() -> Result<()> {
    let shell = Shell::open()?;
    let begun = shell.house.path().join("begun");
    let script = format!("echo > '{}'; exec sleep 30", begun.display());
    let command = ["sh", "-c", &script].map(str::to_owned);
    let child = shell.command("safe", "5s", &command).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while !begun.exists() {
        ensure!(Instant::now() < deadline, "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    ensure!(asked.success(), "kill failed");
    let (code, said) = ended(child)?;
    assert_eq!((code, &said["ran"], &said["exit_code"]), (Some(143), &json!(true), &json!(143)));
    Ok(())
}

#[test]
fn outputs_that_could_not_be_written_are_noticed_before_anybody_is_asked() -> Result<()> {
    let mut shell = Shell::open()?;
    let arguments = ["request", "--github-output", "--tool", "deploy", "--subject", "x", "--wait", "0"];
    assert_eq!(shell.house.run(&arguments)?.code, Some(2));
    assert_eq!(shell.house.inbox_of(0)?.len(), 0, "nobody was asked");
    shell.house.set_env("GITHUB_OUTPUT", &shell.house.path().join("output").display().to_string());
    assert_eq!(shell.house.run(&arguments)?.code, Some(11), "no time to wait is asking once");
    let written = std::fs::read_to_string(shell.house.path().join("output"))?;
    ensure!(written.contains("decision=pending\n"), "{written}");
    Ok(())
}

#[test]
fn asking_once_again_hears_what_was_decided() -> Result<()> {
    let shell = Shell::open()?;
    assert_eq!(shell.request("deploy", "0", &Shell::noting(0))?.0, Some(11));
    shell.house.approve(&shell.thread()?, "go")?;
    assert_eq!((shell.request("deploy", "0", &Shell::noting(0))?.0, shell.runs()), (Some(0), 1));
    Ok(())
}

/// What may have run does not run again; what cannot have run may.
#[test]
fn one_that_dies_around_the_run_does_not_run_it_twice() -> Result<()> {
    // Where it dies, how often the command ran by then, and what the same request comes to.
    let deaths = [
        ("journal.dispatch:before", 0, None),
        ("journal.dispatch:after", 0, Some(12)),
        ("journal.finish:before", 1, Some(12)),
    ];
    for (death, runs, code) in deaths {
        let mut shell = Shell::open()?;
        shell.house.set_env("HOLDPOINT_DIE_AT", death);
        let child = shell.command("deploy", "30s", &Shell::noting(0)).spawn()?;
        shell.house.unset_env("HOLDPOINT_DIE_AT");
        shell.house.approve(&shell.thread()?, "go")?;
        assert_eq!((ended(child)?.0, shell.runs()), (None, runs), "{death}");
        let (again, said) = shell.request("deploy", "2s", &Shell::noting(0))?;
        ensure!(code.is_none_or(|code| again == Some(code)), "{death}: {again:?} {said}");
        ensure!(shell.runs() <= 1 && (code.is_none() || shell.runs() == runs), "{death}: {said}");
    }
    Ok(())
}
