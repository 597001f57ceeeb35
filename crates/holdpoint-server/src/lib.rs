//! Gate itself: the agent API, the rules, one-time tokens, the inbox and the admin API.
//!
//! [`router`] serves a [`GateServer`]; the binary binds and listens. What Gate promises:
//!
//! 1. Nothing is allowed but by a rule or a default an operator declared, or by a person; see [`rules`].
//! 2. A decision is made on the revision the reviewer saw; the first one wins and the next is told who was first.
//! 3. An approval token is one of its kind, bound to agent, task, thread and revision, and valid once.
//! 4. What went on without a person is on record before it is answered.
//! 5. Reviewers see what was sent, whole and escaped; agents see no rule and no inner error.
//!
//! Not promised: that an agent cannot lie. What it says of its action stands below the payload, which is what counts.
//!
//! Deployment: it speaks plain HTTP. On anything but loopback put a proxy with TLS in front that keeps `Host`, and tell
//! Gate its public URL.

mod clock;
mod gate;
mod http;
mod images;
mod inbox;
mod options;
mod random;
pub mod rules;
mod visible;

pub use crate::clock::Clock;
pub use crate::gate::{
    Applied, ApplyError, DecideCommand, GateError, GateServer, NewKey, OPERATOR, SignInLink, ThreadReport,
    TimelineStart,
};
pub use crate::http::{router, wire};
pub use crate::options::{AdminToken, AdminTokenError, Options, OptionsError, ServerLimits};
pub use crate::random::NoRandomness;
pub use crate::visible::visible;
