//! The JSON Schemas of the files, for editors. Published under `config/schema/`.

use crate::written::{CasesFile, HoldpointFile, ToolsFile};
use holdpoint_api::declare::GateDeclaration;
use schemars::{JsonSchema, generate::SchemaSettings};

/// Each schema's file name and text.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    vec![
        ("holdpoint.schema.json", text::<HoldpointFile>("holdpoint.yaml")),
        ("tools.schema.json", text::<ToolsFile>("tools/SERVER.yaml")),
        ("cases.schema.json", text::<CasesFile>("tools/SERVER.cases.yaml")),
        ("gate.schema.json", text::<GateDeclaration>("gate.yaml")),
    ]
}

fn text<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
