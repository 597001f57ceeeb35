use std::cmp::Ordering;

/// A JSON number compared by its text: no rounding, whatever its length.
///
/// Doubles would take 9007199254740993 for …992 and let a limit be passed by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'text> {
    negative: bool,
    integer: &'text str,
    fraction: &'text str,
    /// The value is `0.d1d2d3… × 10^magnitude` with `d1` the first digit that is not 0; absent for zero.
    magnitude: Option<i128>,
}

/// Exponents beyond this are all alike: no text that fits into a body has as many digits, and rules have none such.
const EXPONENT_MAX: i128 = 1 << 100;

/// The largest exponent a rule may have; see [`Decimal::is_usable_bound`].
const BOUND_MAGNITUDE_MAX: i128 = 1_000_000;

impl<'text> Decimal<'text> {
    /// Reads a number in JSON's form. `None` for anything else.
    pub(super) fn parse(text: &'text str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if integer.is_empty() || !all_digits(integer) || !all_digits(fraction) {
            return None;
        }
        let mut number = Self { negative, integer, fraction, magnitude: None };
        let zeros = number.all_digits().take_while(|digit| *digit == b'0').count();
        if zeros < integer.len() + fraction.len() {
            let places = i128::try_from(integer.len()).ok()? - i128::try_from(zeros).ok()?;
            number.magnitude = Some(exponent + places);
        }
        Some(number)
    }

    /// Whether a rule may compare with it. Past that, a comparison with an equally absurd number could be wrong.
    pub(super) fn is_usable_bound(&self) -> bool {
        self.magnitude.is_none_or(|magnitude| magnitude.abs() <= BOUND_MAGNITUDE_MAX)
    }

    /// How two numbers stand to each other, exactly.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self.sign(), other.sign()) {
            (Sign::Negative, Sign::Negative) => other.compare_size(self),
            (Sign::Positive, Sign::Positive) => self.compare_size(other),
            (Sign::Zero, Sign::Zero) => Ordering::Equal,
            (Sign::Negative, _) | (_, Sign::Positive) => Ordering::Less,
            (_, Sign::Negative) | (Sign::Positive, _) => Ordering::Greater,
        }
    }

    fn sign(&self) -> Sign {
        match (self.magnitude, self.negative) {
            (None, _) => Sign::Zero,
            (Some(_), true) => Sign::Negative,
            (Some(_), false) => Sign::Positive,
        }
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        self.magnitude.cmp(&other.magnitude).then_with(|| {
            let mut mine = self.significant();
            let mut theirs = other.significant();
            loop {
                match (mine.next(), theirs.next()) {
                    (None, None) => return Ordering::Equal,
                    (left, right) => match left.unwrap_or(b'0').cmp(&right.unwrap_or(b'0')) {
                        Ordering::Equal => {}
                        unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
                    },
                }
            }
        })
    }

    fn significant(&self) -> impl Iterator<Item = u8> {
        self.all_digits().skip_while(|digit| *digit == b'0')
    }

    fn all_digits(&self) -> impl Iterator<Item = u8> + use<'text> {
        self.integer.bytes().chain(self.fraction.bytes())
    }
}

enum Sign {
    Negative,
    Zero,
    Positive,
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_exponent(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !all_digits(digits) {
        return None;
    }
    let size = digits.bytes().fold(0_i128, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')).min(EXPONENT_MAX)
    });
    Some(if negative { -size } else { size })
}
