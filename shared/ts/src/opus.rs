//! The head in front of each Opus packet in a transport stream (ETSI TS 101 154 and the mapping of Opus to MPEG-TS).

/// Appends a packet with its head.
pub fn write(out: &mut Vec<u8>, packet: &[u8]) {
    // Eleven bits that all heads have; nothing is trimmed, no extension.
    out.extend_from_slice(&[0x7f, 0xe0]);
    let mut left = packet.len();
    while left >= 255 {
        out.push(255);
        left -= 255;
    }
    out.push(u8::try_from(left).unwrap_or(0));
    out.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_steps_of_255() {
        for (len, head) in [(0, &[0][..]), (254, &[254]), (255, &[255, 0]), (600, &[255, 255, 90])] {
            let mut out = Vec::new();
            write(&mut out, &vec![7; len]);
            assert_eq!(out, [&[0x7f, 0xe0], head, &vec![7; len]].concat());
        }
    }
}
