//! Numbers as people read them: three digits that matter, and a unit.

/// Bytes, such as `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// A rate in kbit/s, such as `512 kbit/s` or `1.5 Mbit/s`.
pub(crate) fn kbps(rate: u64) -> String {
    scaled(rate.saturating_mul(1000), 1000, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s"])
}

/// A short time, such as `80 ms` or `2.5 s`.
pub(crate) fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => duration(ms),
    }
}

/// A time such as `42s`, `3m07s`, `5h03m`, `12d04h`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A count in the largest unit of which there is at least one, with one decimal below ten.
fn scaled(count: u64, step: u64, units: &[&str]) -> String {
    let mut tenths = u128::from(count) * 10;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    let mut whole = true;
    for larger in units {
        if tenths < u128::from(step) * 10 {
            break;
        }
        tenths /= u128::from(step);
        unit = larger;
        whole = false;
    }
    if whole || tenths >= 100 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_times_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_600, "1.5 KiB"),
            (20_480, "20 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(kbps(1_000), "1.0 Mbit/s");
        assert_eq!(kbps(512), "512 kbit/s");
        assert_eq!(kbps(0), "0 bit/s");
        assert_eq!(
            (age(80).as_str(), age(2_550).as_str(), age(61_000).as_str()),
            ("80 ms", "2.5 s", "1m01s")
        );
        for (ms, text) in [
            (999, "0s"),
            (42_000, "42s"),
            (187_000, "3m07s"),
            (18_180_000, "5h03m"),
            (1_051_200_000, "12d04h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
