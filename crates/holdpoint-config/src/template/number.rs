//! Numbers by their text, without rounding.

/// Longer numbers are written with an exponent.
const ZEROS_MAX: usize = 40;

/// The one plain way to write a JSON number; whole numbers that are written in digits stay as they are.
pub(super) fn plain(text: &str) -> String {
    let (negative, digits, exponent) = decimal(text);
    let sign = if negative { "-" } else { "" };
    if digits.is_empty() {
        return "0".to_owned();
    }
    let zeros = |count: i64| usize::try_from(count).ok().filter(|count| *count <= ZEROS_MAX);
    let point = exponent.saturating_add(i64::try_from(digits.len()).unwrap_or(i64::MAX));
    let inside = usize::try_from(point).ok().and_then(|point| digits.split_at_checked(point));
    match (zeros(exponent), zeros(point.saturating_neg()), inside) {
        (Some(after), _, _) => format!("{sign}{digits}{}", "0".repeat(after)),
        (None, Some(before), _) => format!("{sign}0.{}{digits}", "0".repeat(before)),
        (None, None, Some((whole, fraction))) => format!("{sign}{whole}.{fraction}"),
        (None, None, None) => format!("{sign}{digits}e{exponent}"),
    }
}

/// A decimal number without its accidents: sign, digits without zeros at either end, exponent.
pub(super) fn decimal(text: &str) -> (bool, String, i64) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0').to_owned();
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    if significant.is_empty() {
        return (false, significant, 0);
    }
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let shift = i64::try_from(zeros).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(0);
    (negative, significant, exponent.saturating_add(shift))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_number_has_one_plain_way_to_be_written() {
        for (written, expected) in [
            ("1042", "1042"),
            ("9007199254740993", "9007199254740993"),
            (
                "12345678901234567890123456789012345678901234567890",
                "12345678901234567890123456789012345678901234567890",
            ),
            ("-7", "-7"),
            ("40", "40"),
            ("40.0", "40"),
            ("4e1", "40"),
            ("4.0E+1", "40"),
            ("400e-1", "40"),
            ("40.50", "40.5"),
            ("-0.050", "-0.05"),
            ("12.345", "12.345"),
            ("1e-3", "0.001"),
            ("0", "0"),
            ("-0.0", "0"),
            ("0e9", "0"),
            ("1e400", "1e400"),
            ("1e-400", "1e-400"),
        ] {
            assert_eq!(plain(written), expected, "{written}");
        }
    }
}
