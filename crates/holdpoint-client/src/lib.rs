//! The way to Gate: its agent API over HTTP, and the kernel's [`Approver`](holdpoint_core::Approver) on top of it.
//!
//! # Rules
//! 1. Only `allow`, `approved` and `valid: true` can run a tool, each only from a 2xx whose whole body was read and
//!    contradicts nothing that was asked. Everything else is a refusal or an error.
//! 2. A token is redeemed in exactly one attempt. No layer below sends anything twice: redirects and retries are off.
//! 3. A request whose outcome is not known is sent again only where that cannot open a second thread.
//! 4. A decision is read for the payload that was sent; one about another payload permits nothing. After a revision, one
//!    of which it cannot be told which proposal it is about permits nothing either.
//! 5. Plain HTTP goes to this machine only, unless the operator says otherwise. No proxy is taken from the environment.
//! 6. The feed and webhooks are doorbells: they say which thread to read, and decide nothing.
//! 7. Keys, tokens and bodies appear in no log, no error and no `Debug`.
//!
//! # Not guaranteed here
//! That a Gate without the additive fields (`payload_digest`) decided about this very payload: there only the thread
//! id binds. That a request to such a Gate whose reply was lost is found again: see [`ClientError::OutcomeUnknown`].
//!
//! # Deployment caveat
//! Each long poll keeps one connection open, and where Gate has a feed there is one for all holds; proxies between here
//! and Gate must let an answer take a minute, or the polls fail, are repeated, and decisions arrive late.

mod approver;
mod binding;
mod client;
mod error;
mod pace;
mod poller;
mod question;
mod revision;
mod settings;
mod timeline;
mod webhook;
mod wire;

pub use approver::GateApprover;
pub use client::{DecisionOf, GateClient};
pub use error::{ClientError, SetupError};
pub use pace::Pace;
pub use poller::Doorbell;
pub use question::LocalKey;
pub use settings::{ClientSettings, GateUrl, GateUrlError, PlainHttp, Timeouts};
pub use timeline::{Closed, Excerpts, Timeline, TimelineOptions};
pub use webhook::WebhookReceiver;
