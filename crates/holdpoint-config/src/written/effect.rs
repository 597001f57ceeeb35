use super::PayloadField;
use crate::load::{Entries, Located};
use holdpoint_api::declare::HumaneDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt};

/// What a call does in the world: its name alone, or with a way to find out whether it happened.
#[derive(Debug)]
pub(crate) enum WrittenEffect {
    Key(String),
    Told(Box<Effect>),
}

/// What a call does in the world.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `key`")]
pub(crate) struct Effect {
    /// Its name (template), such as `refund:{{ args.order_id }}`. Calls with the same name run once, whoever makes them.
    pub(crate) key: Located<String>,
    /// How to find out whether it happened, after the answer of a run was lost. Absent: a person has to.
    pub(crate) reconcile: Option<Located<Reconcile>>,
}

/// A read-only tool of the same server that tells whether something happened. A condition is an expression over
/// `result`: the structured content of the tool's answer, or else its one text, read as JSON if it is JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `tool` and `happened`")]
pub(crate) struct Reconcile {
    /// The tool, by its exact name. It needs an entry of its own with `action: pass`, since nobody is asked about it.
    pub(crate) tool: Located<String>,
    /// Its arguments, made from those of the call. Absent: none.
    pub(crate) arguments: Option<Located<Entries<Located<PayloadField>>>>,
    /// True if it happened, such as `result.status == 'refunded'`. An answer that lacks a field which this looks at does
    /// not tell.
    pub(crate) happened: Located<String>,
    /// True if it did not happen, so that the call may run again. An answer for which both or neither are true does not
    /// tell. Absent: no answer tells that it did not, and a person has to.
    pub(crate) did_not_happen: Option<Located<String>>,
    /// How long after a run was lost the answer is final. Absent: 30 s.
    pub(crate) after: Option<HumaneDuration>,
}

impl<'de> Deserialize<'de> for WrittenEffect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EffectVisitor;

        impl<'de> Visitor<'de> for EffectVisitor {
            type Value = WrittenEffect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name such as `refund:{{ args.order_id }}`; put it in quotes, or write a mapping with `key`")
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<WrittenEffect, E> {
                Ok(WrittenEffect::Key(key.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenEffect, A::Error> {
                Effect::deserialize(MapAccessDeserializer::new(map))
                    .map(|effect| WrittenEffect::Told(Box::new(effect)))
            }
        }

        deserializer.deserialize_any(EffectVisitor)
    }
}

impl JsonSchema for WrittenEffect {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WrittenEffect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let told = generator.subschema_for::<Effect>();
        let name = "Its name (template), such as `refund:{{ args.order_id }}`.";
        schemars::json_schema!({ "anyOf": [{ "type": "string", "description": name }, told] })
    }
}
