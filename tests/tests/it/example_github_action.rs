//! `examples/github-action`, as it stands in the repository: valid by the published schemas, and its steps, executed.

use crate::request::Shell;
use anyhow::{Context as _, Result};
use holdpoint_e2e::{here, holdpoint, nobody, python};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command};

fn example(name: &str) -> String {
    here().join("../examples/github-action").join(name).display().to_string()
}

fn runner() -> PathBuf {
    here().join("python/run_action.py")
}

/// Starts the action with these inputs.
fn start(shell: &Shell, inputs: &Value) -> Result<Child> {
    let house = &shell.house;
    let mut given = json!({
        "gate-url": house.environment()["STACKSONA_GATE_URL"], "agent-key": house.environment()["STACKSONA_API_KEY"],
        "wait": "20s", "holdpoint": holdpoint().display().to_string(),
    });
    if let (Some(given), Some(inputs)) = (given.as_object_mut(), inputs.as_object()) {
        given.extend(inputs.clone());
    }
    std::fs::write(house.path().join("inputs.json"), given.to_string())?;
    let mut command = Command::new(python());
    command.arg(runner()).args(["run", &example("action.yml"), "inputs.json", "outputs.json"]);
    command.current_dir(house.path()).env_clear().envs(house.environment());
    command.env_remove("STACKSONA_GATE_URL").env_remove("STACKSONA_API_KEY");
    let run = [("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "acme/shop"), ("GITHUB_RUN_ID", "77")];
    let job = [("GITHUB_RUN_ATTEMPT", "1"), ("GITHUB_JOB", "deploy"), ("GITHUB_ACTOR", "ada")];
    command.envs(run).envs(job);
    Ok(command.spawn()?)
}

fn ended(shell: &Shell, mut child: Child) -> Result<(Option<i32>, Value)> {
    let code = child.wait()?.code();
    let outputs = std::fs::read_to_string(shell.house.path().join("outputs.json")).context("no outputs")?;
    Ok((code, serde_json::from_str(&outputs)?))
}

#[test]
fn its_files_are_what_github_reads() -> Result<()> {
    for (schema, file) in [("github-actions", "action.yml"), ("github-workflows", "deploy.yml")] {
        let output = Command::new(python()).arg(runner()).args(["check", schema, &example(file)]).output()?;
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stdout));
    }
    // The check can fail.
    let output = Command::new(python())
        .arg(runner())
        .args(["check", "github-actions", &example("deploy.yml")])
        .output()?;
    assert!(!output.status.success());
    Ok(())
}

#[test]
fn its_step_runs_the_command_on_a_yes_and_on_nothing_else() -> Result<()> {
    let shell = Shell::open()?;
    let inputs = |tool: &str| json!({ "tool": tool, "subject": "Deploy 7", "run": "echo \"${STACKSONA_API_KEY:-none}\" >> ran" });
    let (code, outputs) = ended(&shell, start(&shell, &inputs("safe"))?)?;
    assert_eq!(
        (code, &outputs["decision"], &outputs["status"]),
        (Some(0), &json!("allow"), &json!("allowed"))
    );
    assert_eq!(std::fs::read_to_string(shell.house.path().join("ran"))?, "none\n");
    let (code, outputs) = ended(&shell, start(&shell, &inputs("never"))?)?;
    assert_eq!((code, &outputs["decision"]), (Some(10), &json!("deny")));
    let waiting = start(&shell, &inputs("deploy"))?;
    let thread = shell.thread()?;
    let shown = &shell.house.inbox_of(1)?[0];
    assert_eq!(shown["task_id"], "acme/shop/77/1/deploy");
    assert!(shown["summary"].to_string().contains("Started by: ada"), "{shown}");
    assert!(shown["payload"]["command"].to_string().contains(">> ran"), "{shown}");
    assert_eq!(shell.runs(), 1);
    shell.house.approve(&thread, "go")?;
    let (code, outputs) = ended(&shell, waiting)?;
    assert_eq!(
        (code, &outputs["decision"], &outputs["thread-id"]),
        (Some(0), &json!("allow"), &json!(thread))
    );
    assert_eq!(shell.runs(), 2);
    let failing = json!({ "tool": "safe", "subject": "x", "run": "false\necho no >> ran" });
    assert_eq!(ended(&shell, start(&shell, &failing)?)?.0, Some(1));
    let lean = json!({ "tool": "safe", "subject": "x" });
    assert_eq!(ended(&shell, start(&shell, &lean)?)?.0, Some(0));
    assert_eq!(shell.runs(), 2);
    Ok(())
}

#[test]
fn what_its_inputs_say_is_not_run() -> Result<()> {
    let shell = Shell::open()?;
    for text in [
        "$(touch pwned)",
        "`touch pwned`",
        "\"; touch pwned; \"",
        "x\ntouch pwned",
        "--run",
        "' ; touch pwned #",
    ] {
        for input in ["subject", "preview", "tool", "payload", "risk"] {
            let mut inputs = json!({ "tool": "never", "subject": "x", "run": "echo no >> ran" });
            inputs[input] = json!(text);
            // Asked about by that name, or refused: in no case a yes.
            inputs["wait"] = json!("100ms");
            let (code, outputs) = ended(&shell, start(&shell, &inputs)?)?;
            assert_ne!(code, Some(0), "{input}: {text}");
            assert_ne!(outputs["decision"], "allow", "{input}: {text}");
        }
    }
    assert!(!shell.house.path().join("pwned").exists());
    assert_eq!(shell.runs(), 0);
    Ok(())
}

#[test]
fn what_is_not_a_yes_runs_nothing_and_says_what_it_is() -> Result<()> {
    let shell = Shell::open()?;
    let ask = |more: &Value| {
        let mut inputs = json!({ "tool": "safe", "subject": "x", "run": "echo no >> ran" });
        if let (Some(inputs), Some(more)) = (inputs.as_object_mut(), more.as_object()) {
            inputs.extend(more.clone());
        }
        let (code, outputs) = ended(&shell, start(&shell, &inputs)?)?;
        anyhow::Ok((code, outputs["decision"].as_str().unwrap_or_default().to_owned()))
    };
    let said = |code, decision: &str| (Some(code), decision.to_owned());
    assert_eq!(ask(&json!({ "tool": "deploy", "wait": "100ms" }))?, said(11, "pending"));
    shell.house.reject(&shell.thread()?, "no\ndecision=allow")?;
    assert_eq!(ask(&json!({ "tool": "deploy" }))?, said(10, "deny"), "a reviewer's words are no outputs");
    assert_eq!(ask(&json!({ "gate-url": nobody()? }))?, said(12, "deny"));
    std::fs::write(shell.house.path().join("secret.json"), "{}")?;
    for wrong in [
        json!({ "payload": "@secret.json" }),
        json!({ "payload": "[1]" }),
        json!({ "risk": "none" }),
        json!({ "wait": "x" }),
        json!({ "agent-key": "" }),
    ] {
        assert_eq!(ask(&wrong)?, said(2, ""), "{wrong}");
    }
    assert_eq!(ask(&json!({ "holdpoint": "/no/such/program" }))?, said(127, ""));
    assert_eq!(shell.runs(), 0);
    Ok(())
}
