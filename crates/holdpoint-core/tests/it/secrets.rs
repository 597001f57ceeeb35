//! What must not be shown is not shown: neither in what people read nor in what a log prints by mistake.

use holdpoint_core::{ApprovalToken, Arguments, Secrets, StoredResult};

fn secrets(values: &[&str]) -> Secrets {
    Secrets::new(values.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn values_are_taken_out_wherever_they_stand() {
    let secrets = secrets(&["4111", "4111 1111", "hunter2"]);
    assert_eq!(secrets.redact("4111 1111 and hunter2, 4111"), "[redacted] and [redacted], [redacted]");
    assert_eq!(secrets.redact("nothing"), "nothing");
    assert_eq!(Secrets::default().redact("4111"), "4111");
}

/// `no` is in half of all sentences; four characters are the least, whatever their bytes.
#[test]
fn short_values_are_left_alone() {
    let secrets = secrets(&["no", "öäü", "öäüß", ""]);
    assert_eq!(secrets.redact("no öäü öäüß"), "no öäü [redacted]");
}

#[test]
fn nothing_secret_is_printed_for_debugging() {
    assert_eq!(format!("{:?}", Arguments::parse(r#"{"card":"4111"}"#).unwrap()), "Arguments(1 keys)");
    assert_eq!(format!("{:?}", Arguments::unread(r#"{"card":"4111"}"#)), "Arguments(unread)");
    assert_eq!(format!("{:?}", Arguments::absent()), "Arguments(absent)");
    assert_eq!(format!("{:?}", secrets(&["4111"])), "Secrets(1)");
    assert_eq!(format!("{:?}", ApprovalToken::new("sgt_1")), "ApprovalToken(redacted)");
    assert_eq!(format!("{:?}", StoredResult::new(*b"4111")), "StoredResult(4 bytes)");
}
