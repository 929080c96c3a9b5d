//! Conversions between widths, each with what happens to a value that does not fit. Everywhere else a conversion that may fail is an
//! error or has its own reason.

/// The lowest 32 bits: RTMP's times and counts wrap there.
#[must_use]
pub const fn low_u32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A length for an index; what no memory has becomes the greatest, which no slice has.
#[must_use]
pub fn as_len(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

/// A length for a field of 32 bits; what does not fit becomes the greatest.
#[must_use]
pub fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A count for a signed difference; what does not fit becomes the greatest.
#[must_use]
pub fn as_i64(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_or_the_greatest() {
        assert_eq!(low_u32(0x1_0000_0007), 7);
        assert_eq!((as_len(5_u32), as_len(-1_i64), as_len(u128::MAX)), (5, usize::MAX, usize::MAX));
        assert_eq!((len_u32(7), as_i64(u64::MAX), as_i64(9_usize)), (7, i64::MAX, 9));
    }
}
