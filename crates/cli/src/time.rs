//! The date and time in UTC, for names of folders and for the manifest. Training does not depend on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Formats seconds since 1970 as `YYYYMMDD-HHMMSS` in UTC.
pub(crate) fn utc_compact(seconds: u64) -> String {
    let ([year, month, day], [hour, minute, second]) = civil(seconds);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Formats seconds since 1970 as `YYYY-MM-DDTHH:MM:SSZ`, the form of ISO 8601 in UTC.
pub(crate) fn utc_iso(seconds: u64) -> String {
    let ([year, month, day], [hour, minute, second]) = civil(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day, and hours, minutes and seconds. The conversion of days to civil dates follows Howard
/// Hinnant.
fn civil(seconds: u64) -> ([i64; 3], [u64; 3]) {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    ([year, month, day], [rest / 3600, rest / 60 % 60, rest % 60])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil_dates_in_utc() {
        // `date -u -d @N +%Y%m%d-%H%M%S`, and with the format +%Y-%m-%dT%H:%M:%SZ
        for (seconds, compact, iso) in [
            (0, "19700101-000000", "1970-01-01T00:00:00Z"),
            (951_782_400, "20000229-000000", "2000-02-29T00:00:00Z"),
            (1_704_067_199, "20231231-235959", "2023-12-31T23:59:59Z"),
            (4_102_444_800, "21000101-000000", "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!([utc_compact(seconds), utc_iso(seconds)], [compact, iso]);
        }
    }
}
