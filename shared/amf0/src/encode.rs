//! Values to bytes.

use crate::Value;
use bytes::BufMut;
use media::number::{as_len, len_u32};

/// Appends `value` to `out`.
///
/// A key longer than 65535 bytes is cut at a character boundary, because the format cannot express it.
pub fn encode(value: &Value, out: &mut impl BufMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(0x00);
            out.put_f64(*number);
        }
        Value::Boolean(boolean) => {
            out.put_u8(0x01);
            out.put_u8(u8::from(*boolean));
        }
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(len) => {
                out.put_u8(0x02);
                out.put_u16(len);
                out.put_slice(text.as_bytes());
            }
            Err(_) => long(0x0C, text, out),
        },
        Value::Object(properties) => {
            out.put_u8(0x03);
            encode_properties(properties, out);
        }
        Value::Null => out.put_u8(0x05),
        Value::Undefined => out.put_u8(0x06),
        Value::Reference(index) => {
            out.put_u8(0x07);
            out.put_u16(*index);
        }
        Value::EcmaArray(properties) => {
            out.put_u8(0x08);
            out.put_u32(len_u32(properties.len()));
            encode_properties(properties, out);
        }
        Value::StrictArray(elements) => {
            out.put_u8(0x0A);
            let count = len_u32(elements.len());
            out.put_u32(count);
            for element in elements.iter().take(as_len(count)) {
                encode(element, out);
            }
        }
        Value::Date { ms, tz } => {
            out.put_u8(0x0B);
            out.put_f64(*ms);
            out.put_i16(*tz);
        }
        Value::LongString(text) => long(0x0C, text, out),
        Value::Unsupported => out.put_u8(0x0D),
        Value::XmlDocument(text) => long(0x0F, text, out),
        Value::TypedObject { class, properties } => {
            out.put_u8(0x10);
            key(class, out);
            encode_properties(properties, out);
        }
    }
}

/// Appends all `values` to `out`, one behind the other, as in the payload of a command.
pub fn encode_all<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut impl BufMut) {
    for value in values {
        encode(value, out);
    }
}

fn encode_properties(properties: &[(String, Value)], out: &mut impl BufMut) {
    for (name, value) in properties {
        key(name, out);
        encode(value, out);
    }
    out.put_slice(&[0x00, 0x00, 0x09]);
}

fn key(name: &str, out: &mut impl BufMut) {
    let name = cut(name, usize::from(u16::MAX));
    out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
    out.put_slice(name.as_bytes());
}

fn long(marker: u8, text: &str, out: &mut impl BufMut) {
    let most = as_len(u32::MAX);
    let text = cut(text, most);
    out.put_u8(marker);
    out.put_u32(len_u32(text.len()));
    out.put_slice(text.as_bytes());
}

/// As much of `text` as fits into `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
