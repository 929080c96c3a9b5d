//! Bits from the top of each byte down, as parameter sets and audio configurations are written.

/// The input ended, or a number is longer than any that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bits end in the middle of a value, or a value is out of range")]
pub struct BadBits;

/// Reads bits; every read is checked.
#[derive(Debug, Clone)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn bit(&mut self) -> Result<bool, BadBits> {
        let byte = self.bytes.get(self.at / 8).ok_or(BadBits)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// `count` bits, at most 32.
    pub(crate) fn take(&mut self, count: u32) -> Result<u32, BadBits> {
        let mut value = 0_u32;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.bit()?);
        }
        Ok(value)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), BadBits> {
        self.at = self.at.checked_add(count).ok_or(BadBits)?;
        if self.at <= self.bytes.len().saturating_mul(8) { Ok(()) } else { Err(BadBits) }
    }

    /// Exp-Golomb, unsigned: at most 31 leading zeros.
    pub(crate) fn ue(&mut self) -> Result<u32, BadBits> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(BadBits);
            }
        }
        let rest = self.take(zeros)?;
        Ok((1_u32 << zeros) - 1 + rest)
    }

    /// Exp-Golomb, signed; only its place matters here.
    pub(crate) fn skip_se(&mut self) -> Result<(), BadBits> {
        self.ue().map(|_| ())
    }
}

/// A NAL unit's payload without its emulation prevention bytes (00 00 03 becomes 00 00).
pub(crate) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_endless_ones_refused() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010]);
        assert_eq!([bits.ue(), bits.ue(), bits.ue()], [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(bits.ue(), Ok(3));
        assert_eq!(bits.take(4), Ok(0b0010));
        assert_eq!(bits.bit(), Err(BadBits));
        assert_eq!(Bits::new(&[0; 64]).ue(), Err(BadBits));
        assert_eq!(Bits::new(&[1, 2]).skip(usize::MAX), Err(BadBits));
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 0, 0, 0]);
    }
}
