//! Numbers as people write them.

/// Up to four significant digits, with a real minus sign; powers of ten where there would be too many zeros.
pub fn number(value: f64) -> String {
    significant(value, 4)
}

/// Up to `digits` significant digits.
pub fn significant(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "not a number".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".into() } else { "−∞".into() };
    }
    if value == 0.0 {
        return "0".into();
    }
    let text = format!("{:.*e}", digits.saturating_sub(1), value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if value < 0.0 { "−" } else { "" };
    if !(-4..6).contains(&exponent) {
        let mantissa = without_zeros(mantissa);
        let power = superscript(exponent);
        return if mantissa == "1" { format!("{sign}10{power}") } else { format!("{sign}{mantissa}·10{power}") };
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    format!("{sign}{}", without_zeros(&format!("{:.decimals$}", value.abs())))
}

/// With exactly this many decimals, as in a row of ticks.
pub fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| c == '0' || c == '.');
    if value < 0.0 && !is_zero { format!("−{text}") } else { text }
}

/// Minutes and seconds.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{} s", significant(seconds, 3)),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Bytes in binary units.
pub fn bytes(count: u64) -> String {
    let mib = count as f64 / 1024.0 / 1024.0;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}

fn without_zeros(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text.into() }
}

fn superscript(exponent: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
    };
    exponent.to_string().chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits_and_no_idle_zeros() {
        let cases = [
            (0.98497, "0.985"),
            (0.92682, "0.9268"),
            (3000.0, "3000"),
            (-0.00512, "−0.00512"),
            (1.0, "1"),
            (0.0, "0"),
            (123_456.7, "123457"),
            (2.5e-7, "2.5·10⁻⁷"),
            (1e9, "10⁹"),
            (f64::NAN, "not a number"),
            (f64::NEG_INFINITY, "−∞"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(decimal(-0.0001, 2), "0.00");
        assert_eq!(decimal(-0.25, 2), "−0.25");
    }

    #[test]
    fn durations_and_sizes_carry_units() {
        assert_eq!(duration(7.29), "7.29 s");
        assert_eq!(duration(425.0), "7 min 5 s");
        assert_eq!(duration(7300.0), "2 h 1 min");
        assert_eq!(bytes(63_025_152), "60 MiB");
        assert_eq!(bytes(3 << 30), "3.00 GiB");
    }
}
