use super::{IdKey, Message, Single, look};
use bytes::Bytes;

fn call(text: &str) -> super::CallFrame {
    match look(text.as_bytes()).unwrap() {
        Message::One(Single::Call(call)) => call.frame(Bytes::copy_from_slice(text.as_bytes())),
        other => panic!("not a call: {other:?}"),
    }
}

#[test]
fn ids_are_compared_as_peers_do() {
    let same = |a, b| IdKey::read(a).unwrap() == IdKey::read(b).unwrap();
    assert!(same("1", "1.0") && same("100", "1e2") && same(r#""a\/b""#, r#""a/b""#));
    assert!(!same("1", r#""1""#));
    assert!(!same("9007199254740993", "9007199254740992"));
    for none in ["null", "true", "[1]", "{}", ""] {
        assert!(IdKey::read(none).is_none(), "{none}");
    }
}

#[test]
fn arguments_are_replaced_where_they_stand() {
    let text = r#"{"params":{"_meta":{"arguments":{"a":1}},"arguments" : {"a":1} ,"name":"t"},"id":1,"method":"tools/call"}"#;
    let frame = call(text);
    assert_eq!(frame.with_arguments(Some(r#"{"a":1}"#)).unwrap(), text);
    let other = frame.with_arguments(Some("{ }")).unwrap();
    assert_eq!(other, text.replacen(r#""arguments" : {"a":1} "#, r#""arguments" : { } "#, 1));
    // Present and absent are not the same call.
    assert!(frame.with_arguments(None).is_none());
    assert!(
        call(r#"{"params":{"name":"t"},"id":1,"method":"tools/call"}"#).with_arguments(Some("{}")).is_none()
    );
}

#[test]
fn keys_are_compared_as_lenient_readers_do() {
    for key in ["Method", "METHOD", "iD", "\\u004dethod", "param\u{17f}", "jsonrp\\u0043"] {
        let text = format!(r#"{{"jsonrpc":"2.0","{key}":"x"}}"#);
        assert!(look(text.as_bytes()).is_err(), "{key}");
    }
    // Other members are other people's business, as long as each is there once.
    assert!(look(br#"{"jsonrpc":"2.0","id":1,"method":"x","extra":1,"vendor":{"a":1,"a":2}}"#).is_ok());
    assert!(look(br#"{"jsonrpc":"2.0","id":1,"method":"x","extra":1,"Extra":2}"#).is_err());
    // An escaped key is the key.
    assert!(matches!(
        look(br#"{"\u006dethod":"tools\/call","id":1,"params":{"name":"t"}}"#),
        Ok(Message::One(Single::Call(_)))
    ));
}

#[test]
fn a_thousand_members_are_refused_before_they_are_compared() {
    let members: Vec<_> = (0..1_000).map(|n| format!(r#""k{n}":0"#)).collect();
    assert!(look(format!("{{{}}}", members.join(",")).as_bytes()).is_err());
}

#[test]
fn deep_messages_do_not_overflow() {
    let deep = format!(r#"{{"method":"x","params":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let _either_is_fine = look(deep.as_bytes());
    let deep = format!(
        r#"{{"method":"tools/call","id":1,"params":{{"name":"t","arguments":{}{}}}}}"#,
        r#"{"a":"#.repeat(200_000),
        "1".to_owned() + &"}".repeat(200_000)
    );
    assert!(matches!(look(deep.as_bytes()), Ok(Message::One(Single::Call(_)))));
}
