//! Webhook signatures: vectors, and the same answers as the reference library.

use holdpoint_api::DecisionChanges;
use holdpoint_api::webhook::{
    SIGNATURES_MAX, SignatureError, Signed, WebhookBody, WebhookSecret, WebhookSecretError,
};
use jiff::Timestamp;
use proptest::prelude::*;

/// The secret, id, time, body and signature of the Standard Webhooks specification's own example.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SECONDS: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn delivery(signatures: &str) -> Signed<'_> {
    Signed { id: ID, timestamp: "1614265330", signatures, body: BODY }
}

fn oracle() -> standardwebhooks::Webhook {
    standardwebhooks::Webhook::new(SECRET).unwrap()
}

#[test]
fn the_specification_example() {
    assert_eq!(secret().sign(ID, SECONDS, BODY), SIGNATURE);
    assert_eq!(secret().verify(&delivery(SIGNATURE), at(SECONDS)), Ok(()));
    assert_eq!(oracle().sign(ID, SECONDS, BODY).unwrap(), SIGNATURE);
}

#[test]
fn vectors_of_our_own() {
    let body = include_bytes!("reference/webhook.json");
    let secret = WebhookSecret::generate(&[7; 32]);
    assert_eq!(secret.expose(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    assert_eq!(secret.sign("msg_1", 1_800_000_000, body), "v1,RMHYy7c0OufmgNA6uWzgbdmOuBR2gsbETW/GhASfS40=");
    let longest = WebhookSecret::parse(&format!("whsec_{}", "/".repeat(84) + "/w==")).unwrap();
    assert_eq!(longest.sign("msg_1", 0, b""), "v1,rBbucXW2vVDAb7RsJNBFzc2ELGRaj9q//UiOtLwEgJY=");
}

#[test]
fn one_fitting_signature_of_several_is_enough() {
    let several = format!("v1a,AAAA v1,AAAA v1,not-base64 {SIGNATURE} v2,AAAA");
    assert_eq!(secret().verify(&delivery(&several), at(SECONDS)), Ok(()));
    let too_many = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(SIGNATURES_MAX));
    assert_eq!(secret().verify(&delivery(&too_many), at(SECONDS)), Err(SignatureError::Signature));
}

#[test]
fn whatever_was_touched_does_not_fit() {
    let now = at(SECONDS);
    let wrong = [
        Signed { body: br#"{"test": 2432232315}"#, ..delivery(SIGNATURE) },
        Signed { id: "msg_other", ..delivery(SIGNATURE) },
        Signed { timestamp: "1614265331", ..delivery(SIGNATURE) },
        Signed { timestamp: "01614265330", ..delivery(SIGNATURE) },
        delivery(""),
        delivery("v1,"),
        delivery("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        delivery("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE"),
        delivery("v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        delivery("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1A=="),
    ];
    for delivery in wrong {
        assert_eq!(secret().verify(&delivery, now), Err(SignatureError::Signature), "{delivery:?}");
    }
    let other = WebhookSecret::generate(&[1; 32]);
    assert_eq!(other.verify(&delivery(SIGNATURE), now), Err(SignatureError::Signature));
    for id in ["", "msg.1", &"x".repeat(257)] {
        assert_eq!(secret().verify(&Signed { id, ..delivery(SIGNATURE) }, now), Err(SignatureError::Id));
    }
    for timestamp in ["", "now", "-5", "+5", " 1614265330", "1614265330.0", "99999999999999999999"] {
        let verdict = secret().verify(&Signed { timestamp, ..delivery(SIGNATURE) }, now);
        assert_eq!(verdict, Err(SignatureError::Timestamp), "{timestamp}");
    }
}

#[test]
fn a_signature_is_good_for_five_minutes_either_way() {
    for (off, verdict) in [
        (-301, Err(SignatureError::Stale)),
        (-300, Ok(())),
        (300, Ok(())),
        (301, Err(SignatureError::Stale)),
        (86_400 * 365, Err(SignatureError::Stale)),
    ] {
        assert_eq!(secret().verify(&delivery(SIGNATURE), at(SECONDS + off)), verdict, "{off}");
    }
}

#[test]
fn secrets_have_one_form_and_do_not_show() {
    let sized = |bytes: usize| format!("whsec_{}", "AAAA".repeat(bytes / 3));
    for (text, error) in [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), WebhookSecretError::Prefix),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS".to_owned(), WebhookSecretError::Base64),
        ("whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), WebhookSecretError::Base64),
        (sized(21), WebhookSecretError::Length),
        (sized(66), WebhookSecretError::Length),
        ("whsec_".to_owned(), WebhookSecretError::Length),
    ] {
        assert_eq!(WebhookSecret::parse(&text).unwrap_err(), error, "{text}");
    }
    assert_eq!(secret().expose(), SECRET);
    assert_eq!(format!("{:?}", secret()), "WebhookSecret(…)");
}

#[test]
fn the_body_is_strict_on_its_fields_and_takes_further_ones() {
    let example: serde_json::Value =
        serde_json::from_slice(include_bytes!("reference/webhook.json")).unwrap();
    let mut more = example.clone();
    more["reviewed_by"] = serde_json::json!("anna");
    assert!(serde_json::from_str::<WebhookBody>(&more.to_string()).is_ok());
    let fields = example.as_object().unwrap();
    assert_eq!(fields.len(), 7);
    for field in fields.keys() {
        for wrong in [serde_json::json!(7), serde_json::json!(null), serde_json::json!(["x"])] {
            let mut body = example.clone();
            body[field] = wrong;
            assert!(serde_json::from_str::<WebhookBody>(&body.to_string()).is_err(), "{field}");
        }
        let mut body = example.clone();
        body.as_object_mut().unwrap().remove(field);
        assert!(serde_json::from_str::<WebhookBody>(&body.to_string()).is_err(), "{field}");
    }
    let twice = example.to_string().replacen('{', r#"{"thread_id":"THR-2","#, 1);
    assert!(serde_json::from_str::<WebhookBody>(&twice).is_err(), "whose webhook it is must not be a guess");
}

#[test]
fn the_feed_says_resync_only_when_it_means_it() {
    let quiet = DecisionChanges { cursor: "c".to_owned(), threads: Vec::new(), resync: false };
    assert_eq!(serde_json::to_string(&quiet).unwrap(), r#"{"cursor":"c","threads":[]}"#);
    let loud = DecisionChanges { resync: true, threads: vec!["THR-1".to_owned()], ..quiet };
    let text = serde_json::to_string(&loud).unwrap();
    assert_eq!(text, r#"{"cursor":"c","threads":["THR-1"],"resync":true}"#);
    assert_eq!(serde_json::from_str::<DecisionChanges>(&text).unwrap(), loud);
}

proptest! {
    #[test]
    fn the_reference_library_agrees(
        id in "[a-zA-Z0-9_]{1,40}",
        seconds in 0_i64..4_000_000_000,
        body in ".{0,200}",
        flip in any::<prop::sample::Index>(),
    ) {
        let signature = secret().sign(&id, seconds, body.as_bytes());
        prop_assert_eq!(&signature, &oracle().sign(&id, seconds, body.as_bytes()).unwrap());
        let mut touched = signature.clone().into_bytes();
        let at = flip.index(touched.len());
        touched[at] ^= 1;
        let touched = String::from_utf8(touched).unwrap();
        let timestamp = seconds.to_string();
        for (signatures, fits) in [(&signature, true), (&touched, false)] {
            let delivery = Signed { id: &id, timestamp: &timestamp, signatures, body: body.as_bytes() };
            let verdict = secret().verify(&delivery, Timestamp::from_second(seconds).unwrap());
            prop_assert_eq!(verdict.is_ok(), fits, "{}", signatures);
        }
    }
}
