use crate::PublicKey;
use jiff::Timestamp;
use std::fmt;

/// Something that is wrong with a log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's name in the log's folder.
    pub file: String,
    /// Its line, counted from 1; `None`: it is about the whole file.
    pub line: Option<u64>,
    /// What.
    pub flaw: Flaw,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.file, self.flaw),
            None => write!(f, "{}: {}", self.file, self.flaw),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Bytes behind the last line feed.
    #[error("the file ends in the middle of a line; whoever appends next moves that aside and says so")]
    Unfinished,
    /// No record is so long.
    #[error("a line is longer than a record can be")]
    TooLong,
    /// It does not have the shape of a record.
    #[error("this is not a record: {0}")]
    NotARecord(&'static str),
    /// Another version wrote it.
    #[error("this record is of version `{0}`, which this program does not know")]
    Version(String),
    /// Its hash is not that of its text.
    #[error("this record was changed after it was written: its hash does not match its text")]
    Hash,
    /// Its text is not what records say.
    #[error("this record cannot be read: {0}")]
    Body(String),
    /// Its number is not the next.
    #[error("{}", sequence(*expected, *found))]
    Sequence {
        /// The next number.
        expected: u64,
        /// The one that is there.
        found: u64,
    },
    /// It follows another record than the one before it.
    #[error(
        "this record was written after another one than the line before it: that line, or this one, was replaced"
    )]
    Predecessor,
    /// The first record of a file says something else.
    #[error("this file does not begin as it must: {0}")]
    Beginning(&'static str),
    /// A checkpoint that is none.
    #[error("this checkpoint is incomplete")]
    Checkpoint,
    /// Wrong signature.
    #[error("the signature of this checkpoint is wrong")]
    Signature,
    /// Right signature, wrong key.
    #[error("this checkpoint was signed with the key {0}, which is not one that you trust")]
    Untrusted(PublicKey),
    /// A file is not there.
    #[error("this file is missing")]
    FileMissing,
    /// What a crash left of a line is not what was moved aside.
    #[error("this is not what was moved aside: {0}")]
    Aside(&'static str),
    /// Not the key of this log.
    #[error("this is not the key of this log: {0}")]
    PublicKey(&'static str),
    /// The log is another one than the kept checkpoint's.
    #[error("the checkpoint you kept is of another log")]
    OtherLog,
    /// The log is shorter than the kept checkpoint.
    #[error(
        "the log ends at record {seq}, but the checkpoint you kept is of record {kept}: records were cut off"
    )]
    CutOff {
        /// The last record.
        seq: u64,
        /// The kept one.
        kept: u64,
    },
    /// The log went another way than the kept checkpoint.
    #[error(
        "record {seq} is not the one that the checkpoint you kept ({at}) was made of: the log was written anew"
    )]
    Rewritten {
        /// Which record.
        seq: u64,
        /// When the kept one was signed.
        at: Timestamp,
    },
    /// A held call was sent although no approval of it is on record.
    #[error("the call of review {thread} was sent to its tool, but no approval of it is on record before")]
    NotApproved {
        /// The review.
        thread: String,
    },
    /// A held call was sent although no token was used up for it.
    #[error("the call of review {thread} was sent to its tool, but no token was redeemed for it before")]
    NoToken {
        /// The review.
        thread: String,
    },
    /// One approval, two runs.
    #[error(
        "more runs than approvals: the call of review {thread} was sent to its tool before, at record {before}"
    )]
    RanTwice {
        /// The review.
        thread: String,
        /// The other run.
        before: u64,
    },
    /// A run was gone on with that never began.
    #[error("the tool of review {thread} was sent more of a call, but not the call itself before")]
    NotBegun {
        /// The review.
        thread: String,
    },
    /// A run was gone on with that had ended, or had not asked for anything.
    #[error(
        "the call of review {thread} was gone on with, although its tool had asked for nothing since record {before}"
    )]
    NotAsked {
        /// The review.
        thread: String,
        /// Where it was sent before.
        before: u64,
    },
    /// One effect, two runs.
    #[error(
        "the effect `{effect}` may have been had twice: a call that has it was sent to its tool before, at record {before}, \
         and nobody said that it did not run"
    )]
    EffectTwice {
        /// The effect's name.
        effect: String,
        /// The other run.
        before: u64,
    },
    /// An outcome of nothing.
    #[error("a tool's answer is on record, but not that the call was sent to it")]
    NotDispatched,
}

fn sequence(expected: u64, found: u64) -> String {
    if found > expected {
        let missing = found - expected;
        format!(
            "this is record {found}, but the next is {expected}: {missing} missing here, or moved elsewhere"
        )
    } else {
        format!("this is record {found}, but the next is {expected}: a line was repeated or moved")
    }
}
