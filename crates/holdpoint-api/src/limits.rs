/// How large what an agent sends may be. The defaults are the contract's; an operator may change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The whole body, in bytes.
    pub body_bytes: usize,
    /// Images per request or event.
    pub images: usize,
    /// One image, decoded, in bytes.
    pub image_bytes: usize,
    /// Nesting of JSON containers.
    pub json_depth: usize,
    /// One line of text: a label, a subject, one bullet.
    pub line_bytes: usize,
    /// Bullets in a summary.
    pub summary_bullets: usize,
}

impl Limits {
    /// The limits a Gate has unless its operator says otherwise.
    pub const DEFAULT: Self = Self {
        body_bytes: 8 * 1024 * 1024,
        images: 16,
        image_bytes: 5 * 1024 * 1024,
        json_depth: 64,
        line_bytes: 4 * 1024,
        summary_bullets: 100,
    };

    /// The longest task id, in bytes.
    pub const TASK_ID_BYTES: usize = 256;

    /// The longest `Idempotency-Key`, in bytes.
    pub const IDEMPOTENCY_KEY_BYTES: usize = 255;

    /// The longest wait of one poll, in seconds. Of a poll of the feed too.
    pub const LONG_POLL_SECONDS: u64 = 60;

    /// The most threads that one answer of the feed names.
    pub const FEED_THREADS: usize = 1000;

    /// The longest cursor of the feed, in bytes.
    pub const CURSOR_BYTES: usize = 128;

    /// The largest body of a webhook, in bytes.
    pub const WEBHOOK_BYTES: usize = 64 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
