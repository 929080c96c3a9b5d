//! A byte cursor that cannot run over its end. All parsers of bytes from outside read through it.
//!
//! ```
//! use media::cursor::Cursor;
//! let mut cursor = Cursor::new(&[0x01, 0x02, 0x03, 0x04]);
//! assert_eq!(cursor.u8()?, 1);
//! assert_eq!(cursor.u24()?, 0x020304);
//! cursor.finish()?;
//! # Ok::<(), media::cursor::Short>(())
//! ```

/// The input ended before the value did, or (from [`Cursor::finish`]) went on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: wanted {wanted} bytes, {left} left")]
pub struct Short {
    /// Offset from the beginning of the outermost cursor's input, in bytes.
    pub at: usize,
    /// How many bytes the reader asked for (0 when bytes were left over).
    pub wanted: usize,
    /// How many there were.
    pub left: usize,
}

/// Reads big-endian values from a slice; every read is checked.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the first byte of `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input, at: 0 }
    }

    /// Offset of the next byte, counted from the beginning of the outermost input.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The bytes that are left, without taking them.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer are left; nothing is taken then.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Short {
            at: self.at,
            wanted: len,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        self.at += len;
        Ok(head)
    }

    /// Takes exactly `N` bytes as an array.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Short {
            at: self.at,
            wanted: N,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        self.at += N;
        Ok(*head)
    }

    /// A cursor over the next `len` bytes, which this one skips.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn sub(&mut self, len: usize) -> Result<Self, Short> {
        let at = self.at;
        Ok(Self { rest: self.take(len)?, at })
    }

    /// Takes all that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        self.at += rest.len();
        rest
    }

    /// Refuses leftovers.
    ///
    /// # Errors
    /// [`Short`] with `wanted` 0 when bytes are left.
    pub fn finish(self) -> Result<(), Short> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Short { at: self.at, wanted: 0, left: self.rest.len() })
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Short`] at the end.
    pub fn u8(&mut self) -> Result<u8, Short> {
        let [byte] = self.take_array()?;
        Ok(byte)
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_be_bytes(self.take_array()?))
    }

    /// Three bytes, big-endian.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn u24(&mut self) -> Result<u32, Short> {
        let [a, b, c] = self.take_array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(self.take_array()?))
    }

    /// Four bytes, little-endian (the message stream id of a chunk header).
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn u32_le(&mut self) -> Result<u32, Short> {
        Ok(u32::from_le_bytes(self.take_array()?))
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_be_bytes(self.take_array()?))
    }

    /// An IEEE 754 double, big-endian.
    ///
    /// # Errors
    /// [`Short`] when fewer than eight bytes are left.
    pub fn f64(&mut self) -> Result<f64, Short> {
        Ok(f64::from_be_bytes(self.take_array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end_and_take_nothing() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.u32(), Err(Short { at: 0, wanted: 4, left: 3 }));
        assert_eq!(cursor.u24(), Ok(0x0001_0203));
        assert_eq!(cursor.u8(), Err(Short { at: 3, wanted: 1, left: 0 }));
    }

    #[test]
    fn a_sub_cursor_keeps_the_outer_position() {
        let mut cursor = Cursor::new(&[9, 1, 2, 7]);
        cursor.u8().unwrap();
        let mut inner = cursor.sub(2).unwrap();
        assert_eq!(inner.position(), 1);
        assert_eq!(inner.u16(), Ok(0x0102));
        assert_eq!(cursor.u8(), Ok(7));
        assert_eq!(Cursor::new(&[1]).finish(), Err(Short { at: 0, wanted: 0, left: 1 }));
    }
}
