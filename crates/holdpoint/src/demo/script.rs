//! What the scripted agent does, for either tool server.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One call of the script, and how to see whether it ran.
pub(crate) struct Scene {
    pub(crate) title: &'static str,
    pub(crate) tool: &'static str,
    pub(crate) arguments: Value,
    /// The file that is there after the call if, and only if, the tool ran.
    pub(crate) evidence: PathBuf,
}

/// Titles of the four, whatever the tools.
const TITLES: [&str; 4] = [
    "a note, which a rule allows",
    "payroll, which a rule rejects",
    "a reply to a customer, which waits for a person",
    "the refund, which needs a one-time token too",
];

/// For the reference file server: it writes anywhere below its folder.
pub(crate) fn for_files(work: &Path) -> [Scene; 4] {
    let path = |name: &str| work.join(name);
    let write = |title, name: &str, content: &str| Scene {
        title,
        tool: "write_file",
        arguments: json!({ "path": path(name), "content": content }),
        evidence: path(name),
    };
    let [note, payroll, reply, refund] = TITLES;
    [
        write(note, "notes/closing.txt", "Books closed.\n"),
        write(payroll, "payroll/bonus.csv", "me,1000000\n"),
        write(reply, "outbox/refund-8821.txt", "We refund 500 USD.\n"),
        Scene {
            title: refund,
            tool: "move_file",
            arguments: json!({
                "source": path("outbox/refund-8821.txt"),
                "destination": path("sent/refund-8821.txt"),
            }),
            evidence: path("sent/refund-8821.txt"),
        },
    ]
}

/// For the bundled server: it keeps notes, and writes refunds down.
pub(crate) fn for_notes(work: &Path) -> [Scene; 4] {
    let write = |title, name: &str, text: &str| Scene {
        title,
        tool: "write_note",
        arguments: json!({ "name": name, "text": text }),
        evidence: work.join(format!("{name}.txt")),
    };
    let [note, payroll, reply, refund] = TITLES;
    [
        write(note, "closing", "Books closed.\n"),
        write(payroll, "payroll", "me,1000000\n"),
        write(reply, "reply-8821", "We refund 500 USD.\n"),
        Scene {
            title: refund,
            tool: "issue_refund",
            arguments: json!({ "order_id": "8821", "amount": 500, "customer_id": "cus_99", "reason": "never arrived" }),
            evidence: work.join("refunds.jsonl"),
        },
    ]
}
