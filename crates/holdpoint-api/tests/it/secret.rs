//! Keys and tokens: format, checksum, and that they do not show.

use holdpoint_api::{ApiKey, ApprovalToken, CallerKey, SecretFormatError, SecretHash};
use proptest::prelude::*;

const CALLER_KEY: &str = "hpc_1fJjkkpe9PiTw9KSulA8Ghct30vZz4HpdQ5c5b9cPF11k6xKw";

#[test]
fn key_vectors() {
    let zero = ApiKey::generate(&[0; 32]);
    assert_eq!(zero.expose(), format!("sg_{}4Y1YZ4", "0".repeat(43)));
    let ones = ApiKey::generate(&[255; 32]);
    assert_eq!(ones.expose(), "sg_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1313yZJ");
    assert_eq!(ones.expose().len(), 52);
}

#[test]
fn mistyped_keys_are_told_apart_from_foreign_ones() {
    let key = ApiKey::generate(&[7; 32]);
    assert_eq!(ApiKey::parse(key.expose()).unwrap(), key);
    assert_eq!(ApiKey::parse("sk_1"), Err(SecretFormatError::Prefix("sg_")));
    assert_eq!(ApiKey::parse("sg_your_agent_key"), Err(SecretFormatError::Shape));
    let cut = key.expose().get(..51).unwrap();
    assert_eq!(ApiKey::parse(cut), Err(SecretFormatError::Shape));
    let mistyped = key.expose().replacen(key.expose().chars().nth(5).unwrap(), "!", 1).replace('!', "Q");
    assert_eq!(ApiKey::parse(&mistyped), Err(SecretFormatError::Checksum));
    assert!(ApiKey::foreign("sg_your_agent_key").is_ok());
    for no in ["", "a b", "a\nb", "ä"] {
        assert!(ApiKey::foreign(no).is_err(), "{no:?}");
    }
}

/// A key for one door is none for the other.
#[test]
fn callers_keys_are_no_agents_keys() {
    let key = CallerKey::generate(&[7; 32]);
    assert_eq!(key.expose(), CALLER_KEY);
    assert_eq!(CallerKey::parse(CALLER_KEY).unwrap().hash(), key.hash());
    assert_eq!(ApiKey::parse(CALLER_KEY), Err(SecretFormatError::Prefix("sg_")));
    let agent = ApiKey::generate(&[7; 32]);
    assert_eq!(CallerKey::parse(agent.expose()).map(drop), Err(SecretFormatError::Prefix("hpc_")));
    let renamed = agent.expose().replacen("sg_", "hpc_", 1);
    assert_eq!(CallerKey::parse(&renamed).map(drop), Err(SecretFormatError::Checksum));
    assert_eq!(format!("{key:?}"), format!("CallerKey(…{})", key.hint()));
}

#[test]
fn secrets_do_not_show() {
    let key = ApiKey::generate(&[7; 32]);
    let token = ApprovalToken::generate(&[9; 32]);
    assert_eq!(format!("{key:?}"), format!("ApiKey(…{})", key.hint()));
    assert_eq!(format!("{token:?} {:?}", token.hash()), "ApprovalToken(…) SecretHash(…)");
    let error = ApiKey::parse("sg_hunter2").unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

proptest! {
    #[test]
    fn every_key_is_read_back_and_every_typo_noticed(random in any::<[u8; 32]>(), at in 3_usize..52, to in "[0-9A-Za-z]") {
        let key = ApiKey::generate(&random);
        prop_assert_eq!(ApiKey::parse(key.expose()).unwrap().hash(), SecretHash::of(key.expose()));
        let mut typo = key.expose().to_owned();
        typo.replace_range(at..=at, &to);
        prop_assert_eq!(ApiKey::parse(&typo).is_ok(), typo == key.expose());
    }

    #[test]
    fn different_bits_are_different_keys(one in any::<[u8; 32]>(), two in any::<[u8; 32]>()) {
        prop_assert_eq!(one == two, ApiKey::generate(&one) == ApiKey::generate(&two));
    }
}
