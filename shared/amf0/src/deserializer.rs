//! AMF0 to Rust values through serde; the reverse of [`crate::to_bytes`]. Whole numbers are offered as integers to
//! types that want integers; references and unsupported values are offered as unit.

use crate::value::whole;
use crate::{Error, Limits, Value, decode};
use media::cursor::Cursor;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// A Rust value from the AMF0 bytes of one value.
///
/// # Errors
/// When the bytes are not one AMF0 value within the limits (bytes behind it included), or do not fit the type.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8], limits: &Limits) -> Result<T, Error> {
    let mut cursor = Cursor::new(bytes);
    let value = decode(&mut cursor, limits)?;
    cursor.finish()?;
    from_value(value)
}

/// A Rust value from an AMF0 value.
///
/// # Errors
/// When they do not fit.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Bridge(value))
}

struct Bridge(Value);

impl<'de> IntoDeserializer<'de, Error> for Bridge {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl Bridge {
    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_f64().and_then(whole) {
            Some(number) => visitor.visit_i64(number),
            None => self.deserialize_any(visitor),
        }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Bridge {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Number(number) | Value::Date { ms: number, .. } => visitor.visit_f64(number),
            Value::Boolean(boolean) => visitor.visit_bool(boolean),
            Value::String(text) | Value::LongString(text) | Value::XmlDocument(text) => {
                visitor.visit_string(text)
            }
            Value::Object(properties)
            | Value::EcmaArray(properties)
            | Value::TypedObject { properties, .. } => {
                let mut map =
                    MapDeserializer::new(properties.into_iter().map(|(key, value)| (key, Self(value))));
                let result = visitor.visit_map(&mut map)?;
                map.end()?;
                Ok(result)
            }
            Value::StrictArray(elements) => {
                let mut sequence = SeqDeserializer::new(elements.into_iter().map(Self));
                let result = visitor.visit_seq(&mut sequence)?;
                sequence.end()?;
                Ok(result)
            }
            Value::Null | Value::Undefined | Value::Unsupported | Value::Reference(_) => visitor.visit_unit(),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            Value::Object(properties) => {
                let entries = properties.into_iter().map(|(key, value)| (key, Self(value)));
                visitor
                    .visit_enum(serde::de::value::MapAccessDeserializer::new(MapDeserializer::new(entries)))
            }
            other => Self(other).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
