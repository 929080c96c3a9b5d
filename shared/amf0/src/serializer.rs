//! Rust values to AMF0 through serde.
//!
//! | Rust | AMF0 |
//! |---|---|
//! | structs, maps | object, in order |
//! | sequences, tuples, bytes | strict array |
//! | integers, floats | number; integers above 2^53 in magnitude are an error |
//! | text, chars, unit variants | string |
//! | `None`, unit | null |
//! | other variants | object with one property, the variant's name |

use crate::{Error, Value, encode};
use serde::ser::{self, Serialize};

/// The AMF0 bytes of a Rust value.
///
/// # Errors
/// [`Error::Integer`] and [`Error::Key`] for what AMF0 cannot express.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    encode(&to_value(value)?, &mut out);
    Ok(out)
}

/// The AMF0 value of a Rust value.
///
/// # Errors
/// As for [`to_bytes`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    value.serialize(Serializer)
}

struct Serializer;

/// Elements or properties in the making, and the variant they belong to.
struct Elements {
    variant: Option<&'static str>,
    elements: Vec<Value>,
}

struct Properties {
    variant: Option<&'static str>,
    properties: Vec<(String, Value)>,
    key: Option<String>,
}

fn within(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::object([(variant, value)]),
        None => value,
    }
}

fn integer(number: i128) -> Result<Value, Error> {
    if number.unsigned_abs() > 1 << 53 {
        return Err(Error::Integer);
    }
    Ok(Value::Number(number as f64))
}

impl ser::Serializer for Serializer {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Elements;
    type SerializeTupleVariant = Elements;
    type SerializeMap = Properties;
    type SerializeStruct = Properties;
    type SerializeStructVariant = Properties;

    fn serialize_bool(self, value: bool) -> Result<Value, Error> {
        Ok(Value::Boolean(value))
    }
    fn serialize_i8(self, value: i8) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_i128(self, value: i128) -> Result<Value, Error> {
        integer(value)
    }
    fn serialize_u8(self, value: u8) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_u16(self, value: u16) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_u32(self, value: u32) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_u64(self, value: u64) -> Result<Value, Error> {
        integer(value.into())
    }
    fn serialize_u128(self, value: u128) -> Result<Value, Error> {
        integer(i128::try_from(value).map_err(|_| Error::Integer)?)
    }
    fn serialize_f32(self, value: f32) -> Result<Value, Error> {
        Ok(Value::Number(value.into()))
    }
    fn serialize_f64(self, value: f64) -> Result<Value, Error> {
        Ok(Value::Number(value))
    }
    fn serialize_char(self, value: char) -> Result<Value, Error> {
        Ok(Value::String(value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Result<Value, Error> {
        Ok(Value::from(value))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Error> {
        Ok(Value::StrictArray(value.iter().map(|byte| Value::Number((*byte).into())).collect()))
    }
    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Error> {
        Ok(Value::from(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(within(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, Error> {
        Ok(Elements { variant: None, elements: Vec::new() })
    }
    fn serialize_tuple(self, _: usize) -> Result<Elements, Error> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements, Error> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements, Error> {
        Ok(Elements { variant: Some(variant), elements: Vec::new() })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Properties, Error> {
        Ok(Properties { variant: None, properties: Vec::new(), key: None })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Properties, Error> {
        self.serialize_map(None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Properties, Error> {
        Ok(Properties { variant: Some(variant), properties: Vec::new(), key: None })
    }
}

impl Elements {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.elements.push(to_value(value)?);
        Ok(())
    }
    fn done(self) -> Value {
        within(self.variant, Value::StrictArray(self.elements))
    }
}

impl ser::SerializeSeq for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }
    fn end(self) -> Result<Value, Error> {
        Ok(self.done())
    }
}

impl ser::SerializeTuple for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }
    fn end(self) -> Result<Value, Error> {
        Ok(self.done())
    }
}

impl ser::SerializeTupleStruct for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }
    fn end(self) -> Result<Value, Error> {
        Ok(self.done())
    }
}

impl ser::SerializeTupleVariant for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }
    fn end(self) -> Result<Value, Error> {
        Ok(self.done())
    }
}

impl ser::SerializeMap for Properties {
    type Ok = Value;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = Some(match to_value(key)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Boolean(boolean) => boolean.to_string(),
            _ => return Err(Error::Key),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or(Error::Key)?;
        self.properties.push((key, to_value(value)?));
        Ok(())
    }
    fn end(self) -> Result<Value, Error> {
        Ok(within(self.variant, Value::Object(self.properties)))
    }
}

impl ser::SerializeStruct for Properties {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.properties.push((key.to_owned(), to_value(value)?));
        Ok(())
    }
    fn end(self) -> Result<Value, Error> {
        Ok(within(self.variant, Value::Object(self.properties)))
    }
}

impl ser::SerializeStructVariant for Properties {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        ser::SerializeStruct::serialize_field(self, key, value)
    }
    fn end(self) -> Result<Value, Error> {
        ser::SerializeStruct::end(self)
    }
}
