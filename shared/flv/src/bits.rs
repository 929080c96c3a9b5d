//! Bits of a parameter set, most significant first, behind its emulation prevention bytes.

/// Longest parameter set that is looked at, bytes.
const MAX_BYTES: usize = 4096;

/// Reads bits; every read is checked.
pub(crate) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The bits of a NAL unit's body: each `00 00 03` stands for `00 00`.
    pub(crate) fn of_nal(body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(body.len().min(MAX_BYTES));
        let mut zeros = 0;
        for byte in body.iter().take(MAX_BYTES) {
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            bytes.push(*byte);
        }
        Self { bytes, at: 0 }
    }

    /// Bits as they are.
    pub(crate) fn plain(bytes: &[u8]) -> Self {
        Self { bytes: bytes.get(..MAX_BYTES).unwrap_or(bytes).to_vec(), at: 0 }
    }

    /// One bit.
    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of up to 32 bits.
    pub(crate) fn number(&mut self, count: u32) -> Option<u32> {
        let mut number = 0_u32;
        for _ in 0..count.min(32) {
            number = number << 1 | u32::from(self.bit()?);
        }
        Some(number)
    }

    /// Passes over bits.
    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    /// An exponential Golomb number; `None` also when it has 32 leading zeros or more, which no field has.
    pub(crate) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros >= 32 {
                return None;
            }
        }
        let rest = u64::from(self.number(zeros)?);
        u32::try_from((1_u64 << zeros) - 1 + rest).ok()
    }

    /// A signed one.
    pub(crate) fn signed_golomb(&mut self) -> Option<i64> {
        let number = i64::from(self.golomb()?);
        Some(if number % 2 == 0 { -number / 2 } else { number / 2 + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_bounds() {
        let mut bits = Bits::plain(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<u32> = std::iter::from_fn(|| bits.golomb()).take(4).collect();
        assert_eq!(read, [0, 1, 2, 3]);
        assert_eq!(Bits::plain(&[0; 16]).golomb(), None);
        assert_eq!(Bits::plain(&[]).bit(), None);
        assert_eq!(Bits::plain(&[0xff]).skip(9), None);
        let mut bits = Bits::of_nal(&[0, 0, 3, 1]);
        assert_eq!(bits.number(24), Some(1));
        let signed: Vec<i64> = [0b1000_0000, 0b0100_0000, 0b0110_0000]
            .iter()
            .filter_map(|b| Bits::plain(&[*b]).signed_golomb())
            .collect();
        assert_eq!(signed, [0, 1, -1]);
    }
}
