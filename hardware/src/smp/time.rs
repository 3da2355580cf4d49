//! Times as SMP writes them: `2026-01-31T23:59:59.250`, in UTC unless an offset stands behind it.

use std::time::Duration;

const DAY: u64 = 86_400;

/// Time since 1970-01-01T00:00:00 UTC as text, with milliseconds if there are any.
#[must_use]
pub fn format(time: Duration) -> String {
    let (year, month, day) = civil(time.as_secs() / DAY);
    let second = time.as_secs() % DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match time.subsec_millis() {
        0 => whole,
        millis => format!("{whole}.{millis:03}"),
    }
}

/// Reads a time: `YYYY-MM-DDTHH:MM:SS`, then a fraction of 1 to 9 digits or none, then `Z`, `+HH:MM`, `-HHMM` or
/// nothing, which means UTC. `None` for anything else, for impossible dates, and before 1970. 60 is a leap second and
/// counts as the next minute's first.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let bytes = text.as_bytes();
    let (fields, rest) = bytes.split_at_checked(19)?;
    for (at, separator) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        let space = at == 10 && fields[at] == b' ';
        if fields[at] != separator && !space {
            return None;
        }
    }
    let number = |from: usize, to: usize| digits(&fields[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let utc = i64::try_from(local).ok()? - offset(rest)?;
    Some(Duration::new(u64::try_from(utc).ok()?, nanos))
}

fn digits(bytes: &[u8]) -> Option<u64> {
    let digit = |sum: u64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'));
    bytes.iter().try_fold(0, digit)
}

fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, rest) = rest.split_at(length);
    let nanos = (length..9).fold(digits(fraction)?, |value, _| value * 10);
    Some((u32::try_from(nanos).ok()?, rest))
}

/// Seconds that the local time is ahead of UTC.
fn offset(rest: &[u8]) -> Option<i64> {
    let (sign, rest) = match rest {
        [] | b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _, b':', _, _] => (digits(&rest[..2])?, digits(&rest[3..])?),
        [_, _, _, _] => (digits(&rest[..2])?, digits(&rest[2..])?),
        _ => return None,
    };
    let valid = hours <= 23 && minutes <= 59;
    let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    valid.then_some(sign * seconds)
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_others_say() {
        // From `date -u +%s -d TIME`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00", 0),
            ("2000-02-29T12:34:56", 951_827_696),
            ("2026-01-31T23:59:59", 1_769_903_999),
            ("2100-03-01T00:00:00", 4_107_542_400),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
        let half = Duration::from_millis(1_769_903_999_250);
        assert_eq!(format(half), "2026-01-31T23:59:59.250");
        for text in [
            "2026-01-31T23:59:59.25",
            "2026-01-31 23:59:59.250000",
            "2026-02-01T01:59:59.25+02:00",
            "2026-01-31T18:29:59.25-0530",
            "2026-01-31T23:59:59.25Z",
        ] {
            assert_eq!(parse(text), Some(half), "{text}");
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "2026",
            "2026-01-31",
            "2026-01-31T23:59:5",
            "2026-02-29T00:00:00",
            "2026-13-01T00:00:00",
            "2026-00-01T00:00:00",
            "2026-01-00T00:00:00",
            "2026-01-01T24:00:00",
            "2026-01-01T00:60:00",
            "2026-01-01T00:00:61",
            "1969-12-31T23:59:59",
            "1970-01-01T00:00:00+01:00",
            "2026-01-01T00:00:00.",
            "2026-01-01T00:00:00.1234567890",
            "2026-01-01T00:00:00x",
            "2026-01-01T00:00:00+1:00",
            "20260101T000000+0000",
            "２026-01-31T23:59:59",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_a_round_trip() {
        for day in 0..146_097_u64 + 365 {
            let time = Duration::from_secs(day * DAY);
            assert_eq!(parse(&format(time)), Some(time), "{day}");
        }
    }
}
