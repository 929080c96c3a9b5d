//! The time of day: for names and dates, never for lengths.

use hls::template::Moment;

/// The time of day, ms since 1970.
pub(crate) fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
}

/// A moment in local time.
pub(crate) fn moment(unix_ms: i64) -> Moment {
    let Ok(stamp) = jiff::Timestamp::from_millisecond(unix_ms) else {
        return Moment { unix_ms, ..Moment::default() };
    };
    let zoned = stamp.to_zoned(jiff::tz::TimeZone::system());
    let small = |value: i8| u8::try_from(value).unwrap_or(0);
    Moment {
        unix_ms,
        year: zoned.year(),
        month: small(zoned.month()),
        day: small(zoned.day()),
        hour: small(zoned.hour()),
        minute: small(zoned.minute()),
        second: small(zoned.second()),
        millisecond: u16::try_from(zoned.millisecond()).unwrap_or(0),
    }
}
