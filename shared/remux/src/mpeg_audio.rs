//! The header of an MPEG audio frame (ISO/IEC 11172-3, 2.4.1.3; 13818-3 for the lower rates).

/// Sample rate and channels of the frame that `data` begins with.
pub(crate) fn describe(data: &[u8]) -> Option<(u32, u16)> {
    let [first, second, third, fourth] = *data.first_chunk()?;
    if first != 0xff || second & 0xe0 != 0xe0 {
        return None;
    }
    let rate = match third >> 2 & 3 {
        0 => 44_100,
        1 => 48_000,
        2 => 32_000,
        _ => return None,
    };
    let rate = match second >> 3 & 3 {
        0 => rate / 4,
        2 => rate / 2,
        3 => rate,
        _ => return None,
    };
    Some((rate, if fourth >> 6 == 3 { 1 } else { 2 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_versions() {
        assert_eq!(describe(&[0xff, 0xfb, 0x90, 0x00]), Some((44_100, 2)));
        assert_eq!(describe(&[0xff, 0xf3, 0x84, 0xc0]), Some((24_000, 1)));
        assert_eq!(describe(&[0xff, 0xe3, 0x80, 0xc0]), Some((11_025, 1)));
        assert_eq!(describe(&[0xff, 0xfb, 0x9c, 0x00]), None);
        assert_eq!(describe(b"ID3\x04"), None);
        assert_eq!(describe(&[0xff]), None);
    }
}
