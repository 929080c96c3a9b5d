//! Bytes to values, within [`Limits`].
//!
//! Text that is not UTF-8 is taken with replacement characters, since metadata of old encoders is full of Latin-1;
//! names that decide something are checked by whoever uses them.

use crate::{Error, Limits, Value};
use media::cursor::Cursor;
use media::number::as_len;

/// What a value is charged for beside its text: about the size of a property in memory.
const NODE_CHARGE: usize = 56;

/// Decodes the next value.
///
/// # Errors
/// See [`Error`]; always the peer's doing.
pub fn decode(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Value, Error> {
    Decoder { limits, nodes: 0, total: 0 }.value(cursor, 1)
}

/// Decodes values until the input ends; the limits hold for all of them together.
///
/// # Errors
/// See [`Error`]; always the peer's doing.
pub fn decode_all(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
    let mut cursor = Cursor::new(bytes);
    let mut decoder = Decoder { limits, nodes: 0, total: 0 };
    let mut values = Vec::new();
    while !cursor.is_empty() {
        values.push(decoder.value(&mut cursor, 1)?);
    }
    Ok(values)
}

/// Decodes values until the input ends or is no value any more; what stands there is told, and is the caller's to
/// judge. Programs append zeros, cut the last value off, or go on in a format of their own.
///
/// # Errors
/// When the values are beyond the limits: no harmless program does that.
pub fn decode_leading(bytes: &[u8], limits: &Limits) -> Result<(Vec<Value>, Option<Error>), Error> {
    let mut cursor = Cursor::new(bytes);
    let mut decoder = Decoder { limits, nodes: 0, total: 0 };
    let mut values = Vec::new();
    while !cursor.is_empty() {
        match decoder.value(&mut cursor, 1) {
            Ok(value) => values.push(value),
            Err(error @ (Error::Short(_) | Error::Amf3 { .. } | Error::Marker { .. })) => {
                return Ok((values, Some(error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((values, None))
}

struct Decoder<'a> {
    limits: &'a Limits,
    nodes: usize,
    total: usize,
}

impl Decoder<'_> {
    fn value(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, Error> {
        let at = cursor.position();
        let marker = cursor.u8()?;
        if depth > self.limits.depth {
            return Err(Error::Depth { at });
        }
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Error::Nodes { at });
        }
        self.charge(NODE_CHARGE, at)?;
        Ok(match marker {
            0x00 => Value::Number(cursor.f64()?),
            0x01 => Value::Boolean(cursor.u8()? != 0),
            0x02 => Value::String(self.short_text(cursor)?),
            0x03 => Value::Object(self.properties(cursor, depth, false)?),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x07 => Value::Reference(cursor.u16()?),
            0x08 => {
                // The count is a hint that encoders get wrong; the end marker ends the array.
                cursor.u32()?;
                Value::EcmaArray(self.properties(cursor, depth, depth == 1)?)
            }
            0x0A => Value::StrictArray(self.elements(cursor, depth)?),
            0x0B => {
                let ms = cursor.f64()?;
                Value::Date { ms, tz: i16::from_be_bytes(cursor.take_array()?) }
            }
            0x0C => Value::LongString(self.long_text(cursor)?),
            0x0D => Value::Unsupported,
            0x0F => Value::XmlDocument(self.long_text(cursor)?),
            0x10 => {
                let class = self.short_text(cursor)?;
                Value::TypedObject { class, properties: self.properties(cursor, depth, false)? }
            }
            0x11 => return Err(Error::Amf3 { at }),
            marker => return Err(Error::Marker { at, marker }),
        })
    }

    /// Properties up to the end marker. With `open_end` the end of the input ends them too: Envivio encoders leave
    /// the marker of their metadata array away.
    fn properties(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
        open_end: bool,
    ) -> Result<Vec<(String, Value)>, Error> {
        let mut properties = Vec::new();
        loop {
            if open_end && cursor.is_empty() {
                return Ok(properties);
            }
            let at = cursor.position();
            if let [0x00, 0x00, 0x09, ..] = cursor.rest() {
                cursor.take(3)?;
                return Ok(properties);
            }
            if properties.len() >= self.limits.keys {
                return Err(Error::Keys { at });
            }
            let name = self.short_text(cursor)?;
            properties.push((name, self.value(cursor, depth + 1)?));
        }
    }

    fn elements(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Vec<Value>, Error> {
        let count = cursor.u32()?;
        let mut elements = Vec::new();
        for _ in 0..count {
            // Ends at the node limit or with the input, whichever is first.
            elements.push(self.value(cursor, depth + 1)?);
        }
        Ok(elements)
    }

    fn short_text(&mut self, cursor: &mut Cursor<'_>) -> Result<String, Error> {
        let at = cursor.position();
        let len = usize::from(cursor.u16()?);
        self.text(cursor, at, len)
    }

    fn long_text(&mut self, cursor: &mut Cursor<'_>) -> Result<String, Error> {
        let at = cursor.position();
        let len = as_len(cursor.u32()?);
        self.text(cursor, at, len)
    }

    fn text(&mut self, cursor: &mut Cursor<'_>, at: usize, len: usize) -> Result<String, Error> {
        let bytes = cursor.take(len)?;
        if len > self.limits.string {
            return Err(Error::StringLength { at, len });
        }
        self.charge(len, at)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn charge(&mut self, bytes: usize, at: usize) -> Result<(), Error> {
        self.total = self.total.saturating_add(bytes);
        if self.total > self.limits.total { Err(Error::Total { at }) } else { Ok(()) }
    }
}
