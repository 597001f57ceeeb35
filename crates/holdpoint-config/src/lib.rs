//! Reads the configuration into a policy.
//!
//! 1. [`load`] reads `holdpoint.yaml`, `gate.yaml` and the tools files, and gives a [`Config`] without mistakes or
//!    [`Mistakes`]: all of them, each with its place and what to do about it.
//! 2. [`Config::policy`] gives the [`PolicySet`] that the kernel asks about each call.
//! 3. [`LivePolicy`] puts another [`PolicySet`] in its place while calls are decided: [`FilesRead::changed_since`] says
//!    when to load again, [`what_changed`] what comes of it. A configuration with mistakes is never in force.
//! 4. [`check`] does the same without using it, and runs the cases that stand beside the tools files.
//!
//! # Rules
//! - Unknown keys, duplicate keys and fields without a use are mistakes: whoever wrote them expects an effect.
//! - Secrets come from the environment (`${NAME}`) or from files (`${file:PATH}`), never from the text, and are never
//!   shown. Templates are left alone by this: `${{ args.amount }}` is a dollar sign and a template.
//! - A value marked `secret` leaves only as a keyed fingerprint, in whatever field or text it would have appeared.
//! - A template or mapping that does not fit a call refuses the call.
//! - An effect has one name however its numbers are written, and a call whose effect has none is refused. Whether it
//!   happened is read from an answer only if all that is looked at is there; the tool that is asked has a `pass` entry
//!   of its own.
//! - The policy's revision is that of what decides: comments, order and files do not change it.
//! - A tool whose name differs only in case from one that an entry is for is refused.
//!
//! # Not guaranteed here
//! That the same secret value is masked where it also occurs in an argument that no entry marks. That a file is not
//! changed between reading and use by somebody who may write to it.

mod cases;
mod change;
mod check;
mod compile;
mod effect;
mod env;
mod explain;
mod fields;
mod glob;
mod live;
mod load;
mod mapping;
mod mistake;
mod pointer;
mod policy;
mod read;
mod schemas;
mod secret;
mod settings;
mod source;
mod template;
mod terms;
mod watch;
mod written;

pub use change::{Change, what_changed};
pub use check::{CaseResult, Report, check};
pub use env::{Env, ProcessEnv};
pub use explain::{Explanation, Outcome};
pub use live::LivePolicy;
pub use mistake::{Mistake, Mistakes, Note, Place, Related, printable, printable_lines};
pub use policy::{Action, EntryPlace, PolicySet};
pub use read::{is_credential, load, load_gate};
pub use schemas::schemas;
pub use secret::{FingerprintKey, Secret};
pub use settings::{
    AuditSettings, BridgeSettings, CallbackSettings, CallerSettings, Config, Credentials, Declined,
    GateSettings, HoldSettings, JournalSettings, OAuthIssuer, ServerCompat, ServerEra, ServerSettings,
    Sharers, TargetContent, TargetPath, TargetSettings, TargetSource, TargetToolSettings, TimelineResults,
    TimelineSettings, WaitMode, WaitSettings, WebhookSettings,
};
pub use watch::FilesRead;
