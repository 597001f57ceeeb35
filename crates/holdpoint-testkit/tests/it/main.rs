//! What other tests rely on is held to the same contract as what it stands for.

mod journal;
