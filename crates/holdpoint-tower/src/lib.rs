//! The kernel as a [tower] layer: puts a [`Gate`] in front of any tool service.
//!
//! ```
//! use holdpoint_core::{Gate, PermittedCall, Rejection, ToolCall};
//! use holdpoint_tower::{GateLayer, Refuse, RunOnce};
//! use std::{convert::Infallible, sync::Arc};
//! use tower::{ServiceExt, service_fn};
//! use tower_layer::Layer;
//!
//! /// What an agent framework would call instead of the tool.
//! async fn run(gate: Arc<Gate>, call: ToolCall) -> String {
//!     let tool = service_fn(|call: ToolCall| async move { Ok::<_, Infallible>(format!("ran {}", call.tool)) });
//!     let told = Refuse(
//!         |rejection: &Rejection| rejection.to_string(),
//!         |kept: &[u8]| String::from_utf8_lossy(kept).into_owned(),
//!     );
//!     let tool = RunOnce::new(tool, |answer: &String| answer.as_bytes().to_vec());
//!     let gated = GateLayer::new(gate, told).layer(tool);
//!     match gated.oneshot(call.into()).await {
//!         Ok(answer) => answer,
//!         Err(never) => match never {},
//!     }
//! }
//! ```
//!
//! # Rules
//! 1. The inner service takes a [`PermittedCall`], so nothing else can reach it through this layer.
//! 2. A refusal is the answer `Ok(response)`, as the [`Adapter`] words it: an agent is told, not failed.
//! 3. The service is always ready, and waits for the tool's readiness only after the decision. A call can be held for
//!    hours; tower's `AsyncFilter` reserves the tool first, and lets one undecided call block unrelated ones.
//!
//! # Not guaranteed here
//! That the tool has no other door. Give the inner service to nobody else, and do not put `tower::retry` *inside*: a
//! permit is not `Clone`, so it cannot sit between permit and tool anyway.

mod adapter;
mod layer;
mod run_once;
mod service;

pub use adapter::{Adapter, Refuse};
pub use layer::GateLayer;
pub use run_once::RunOnce;
pub use service::{Attended, GateService};

#[cfg(doc)]
use holdpoint_core::{Gate, PermittedCall};
