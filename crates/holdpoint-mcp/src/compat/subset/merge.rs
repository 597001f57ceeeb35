//! Two schemas that both count, as one.

use serde_json::{Map, Value};

/// Keywords that say something to people and models, and decide nothing.
const ANNOTATIONS: [&str; 9] = [
    "$comment",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    "$schema",
];
/// Keywords that mean something only with their neighbours, and something else with other ones.
const TOGETHER: [&str; 7] =
    ["additionalItems", "contains", "else", "if", "maxContains", "minContains", "then"];

/// Whether a keyword decides nothing.
pub(super) fn annotates(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword)
}

/// `over` put over `base`. Where they say different things of the same, only `base` counts: what fits both fits that.
pub(super) fn merged(mut base: Map<String, Value>, mut over: Map<String, Value>) -> Map<String, Value> {
    over.retain(|keyword, _| !TOGETHER.contains(&keyword.as_str()));
    if contradict(&base, &over) {
        over.retain(|keyword, _| annotates(keyword));
    }
    base.extend(over);
    base
}

/// Whether they say different things of the same.
pub(super) fn contradict(base: &Map<String, Value>, over: &Map<String, Value>) -> bool {
    over.iter()
        .any(|(keyword, value)| !annotates(keyword) && base.get(keyword).is_some_and(|other| other != value))
}
