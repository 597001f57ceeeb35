//! What a CI system says of the job. Data about the run for the reviewer; nothing of it decides anything.

use std::env::var;

fn set(name: &str) -> Option<String> {
    var(name).ok().filter(|value| !value.is_empty())
}

fn in_github() -> bool {
    set("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// One job of one attempt of one run.
pub(super) fn task() -> Option<String> {
    if !in_github() {
        return None;
    }
    let parts = ["GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB"];
    let parts: Option<Vec<_>> = parts.into_iter().map(set).collect();
    Some(parts?.join("/"))
}

pub(super) fn workflow() -> Option<String> {
    in_github().then(|| set("GITHUB_WORKFLOW")).flatten()
}

/// Where to look.
pub(super) fn summary() -> Vec<String> {
    if !in_github() {
        return Vec::new();
    }
    let point = |label: &str, name: &str| set(name).map(|value| format!("{label}: {value}"));
    let run = match (set("GITHUB_SERVER_URL"), set("GITHUB_REPOSITORY"), set("GITHUB_RUN_ID")) {
        (Some(server), Some(repository), Some(run)) => {
            Some(format!("Run: {server}/{repository}/actions/runs/{run}"))
        }
        _ => None,
    };
    let points = [
        point("Repository", "GITHUB_REPOSITORY"),
        point("Ref", "GITHUB_REF"),
        point("Commit", "GITHUB_SHA"),
        point("Started by", "GITHUB_ACTOR"),
        run,
    ];
    points.into_iter().flatten().collect()
}
