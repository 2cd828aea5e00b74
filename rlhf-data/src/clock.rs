//! Dates for templates that print one.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// A moment, in seconds since 1970 in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant(pub(crate) u64);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        )
    }

    /// The moment in the form that `format` asks for, in C's notation.
    pub(crate) fn strftime(self, format: &str) -> Result<String, String> {
        let days = self.0 / 86_400;
        let second = self.0 % 86_400;
        let (year, month, day) = civil(days);
        let weekday = DAYS[(days % 7) as usize];
        let name = MONTHS[month - 1];
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let hour12 = (hour + 11) % 12 + 1;
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut letter = chars.next();
            // `%-d` is `%d` without the zero or space before it.
            let bare = letter == Some('-');
            if bare {
                letter = chars.next();
            }
            let text = match letter {
                Some('Y') => year.to_string(),
                Some('y') => format!("{:02}", year % 100),
                Some('m') => format!("{month:02}"),
                Some('B') => name.to_owned(),
                Some('b' | 'h') => name[..3].to_owned(),
                Some('d') => format!("{day:02}"),
                Some('e') => format!("{day:2}"),
                Some('j') => format!("{:03}", days - new_year(year) + 1),
                Some('A') => weekday.to_owned(),
                Some('a') => weekday[..3].to_owned(),
                Some('H') => format!("{hour:02}"),
                Some('I') => format!("{hour12:02}"),
                Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
                Some('M') => format!("{minute:02}"),
                Some('S') => format!("{second:02}"),
                Some('F') => format!("{year}-{month:02}-{day:02}"),
                Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
                Some('R') => format!("{hour:02}:{minute:02}"),
                Some('D') => format!("{month:02}/{day:02}/{:02}", year % 100),
                Some('%') => "%".to_owned(),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("strftime_now doesn't know `%{other}`"));
                }
            };
            let bared = text.trim_start_matches(['0', ' ']);
            out += match (bare, bared) {
                (false, _) => &text,
                (true, "") => "0",
                (true, bared) => bared,
            };
        }
        Ok(out)
    }
}

/// Days from 1970-01-01 to the first of January of a year.
fn new_year(year: u64) -> u64 {
    let before = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + before(year - 1) - before(1969)
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    // Whole cycles of 400 years first, so that the loop below is short.
    year += 400 * (days / 146_097);
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let text = |seconds| Instant(seconds).strftime("%a %d %b %Y %H:%M:%S").unwrap();
        assert_eq!(text(0), "Thu 01 Jan 1970 00:00:00");
        assert_eq!(text(951_782_400), "Tue 29 Feb 2000 00:00:00");
        assert_eq!(text(1_721_999_999), "Fri 26 Jul 2024 13:19:59");
        assert_eq!(text(4_107_542_400), "Mon 01 Mar 2100 00:00:00");
        let text = |seconds| {
            Instant(seconds)
                .strftime("%j %-j %I %-I%p %-m/%-d %-S")
                .unwrap()
        };
        assert_eq!(text(0), "001 1 12 12AM 1/1 0");
        assert_eq!(text(1_735_689_599), "366 366 11 11PM 12/31 59");
        assert_eq!(text(1_704_153_600), "002 2 12 12AM 1/2 0");
        assert!(Instant(0).strftime("%Q").unwrap_err().contains("%Q"));
        assert!(Instant(0).strftime("%").is_err());
        assert!(!Instant(u64::MAX).strftime("%F").unwrap().is_empty());
    }
}
