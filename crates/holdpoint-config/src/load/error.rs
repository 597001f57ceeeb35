use crate::{
    mistake::{Finding, listed, meant, nearest},
    source::Span,
};
use serde::de;
use std::fmt;

/// Why a node does not fit.
#[derive(Debug)]
pub(super) struct DeError {
    pub(super) span: Option<Span>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) missing: Option<&'static str>,
    /// A consequence of a mistake that is already noted.
    pub(super) silent: bool,
    /// The innermost list item or mapping value around it, which can be left out.
    pub(super) culprit: Option<usize>,
}

impl DeError {
    pub(super) fn new(message: String, hint: Option<String>) -> Self {
        Self { span: None, message, hint, missing: None, silent: false, culprit: None }
    }

    pub(super) fn finding(&self, otherwise: Span) -> Option<Finding> {
        let finding = Finding::at(self.span.unwrap_or(otherwise), self.message.clone());
        (!self.silent).then(|| finding.maybe_hint(self.hint.clone()))
    }

    /// `culprit`: the address of the node that can be left out.
    pub(super) fn inside(mut self, culprit: usize) -> Self {
        self.culprit = self.culprit.or(Some(culprit));
        self
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    /// "cause; what to do" is told apart.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once("; ") {
            Some((cause, hint)) => Self::new(cause.to_owned(), Some(hint.to_owned())),
            None if message.contains(" has no `") => {
                Self::new(message, Some("remove it, or change the type".to_owned()))
            }
            None => Self::new(message, Some("the file's JSON Schema says what may stand here".to_owned())),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("`{field}` is missing here");
        Self { missing: Some(field), ..Self::new(message, Some(format!("add `{field}: …`"))) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", listed(expected)),
        };
        Self::new(format!("`{variant}` means nothing here"), Some(hint))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`"), meant(field, expected))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is given twice"), Some("keep one of them".to_owned()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}"))
    }

    /// The value is not repeated: it may be a secret.
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}"))
    }
}
