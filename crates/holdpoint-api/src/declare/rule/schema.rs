//! How a rule looks to an editor. The reading itself is written out beside this, because serde buffers tagged enums
//! and would lose the text of numbers.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Number;

use super::{Action, OnMismatch, RuleDeclaration};

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
enum Rule {
    /// Matches a number above `value`.
    UpperLimit {
        parameter: String,
        value: Number,
        action: Action,
        #[schemars(default)]
        on_mismatch: OnMismatch,
    },
    /// Matches a number below `value`.
    LowerLimit {
        parameter: String,
        value: Number,
        action: Action,
        #[schemars(default)]
        on_mismatch: OnMismatch,
    },
    /// Matches a number from `min` to `max`, both included.
    Between {
        parameter: String,
        min: Number,
        max: Number,
        action: Action,
        #[schemars(default)]
        on_mismatch: OnMismatch,
    },
    /// Matches a text that holds `value`, in whatever case.
    Contains {
        parameter: String,
        value: String,
        action: Action,
        #[schemars(default)]
        on_mismatch: OnMismatch,
    },
    /// Matches a text in which `pattern` is found.
    Regex {
        parameter: String,
        pattern: String,
        action: Action,
        #[schemars(default)]
        on_mismatch: OnMismatch,
    },
}

impl JsonSchema for RuleDeclaration {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Rule::json_schema(generator)
    }
}
