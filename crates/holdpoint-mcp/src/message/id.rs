/// A request id or progress token as two peers compare it: the string `"1"` is not the number `1`, but the number `1`
/// is `1.0`, and a string is the same with and without escapes, since a server may echo either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IdKey {
    Text(Box<str>),
    Number(Box<str>),
}

impl IdKey {
    /// `None`: neither a string nor a number.
    pub(crate) fn read(raw: &str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(raw).ok().map(|text| Self::Text(text.into())),
            b'-' | b'0'..=b'9' => Some(Self::Number(number(raw))),
            _ => None,
        }
    }
}

fn number(raw: &str) -> Box<str> {
    // Doubles count whole numbers exactly up to here.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return raw.into();
    }
    match raw.parse::<f64>() {
        Ok(value) if value.is_finite() && value.abs() < WHOLE_MAX => value.to_string().into(),
        Ok(_) | Err(_) => raw.into(),
    }
}
