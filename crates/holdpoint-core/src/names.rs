//! One type per kind of name, so that one cannot be passed for another.

use std::{fmt, sync::Arc};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

names! {
    /// Who is calling, as authenticated by the transport. Never what the caller says of itself.
    Principal,
    /// A tool server, by its name in our configuration.
    ServerName,
    /// A tool, by the exact name that its server uses.
    ToolName,
    /// The agent's job as reviewers see it; chosen by the caller, opaque.
    TaskId,
    /// Gate's record of one review; chosen by Gate, opaque.
    ThreadId,
    /// The configuration entry that a plan came from.
    EntryName,
    /// Which configuration was in force.
    PolicyRevision,
    /// What a caller holds that does not wait; chosen by the adapter, and hard to guess.
    TicketId,
    /// A question that is answered over several requests; made by the adapter, and hard to guess.
    OperationId,
    /// The name of what a call does in the world.
    EffectKey,
}
