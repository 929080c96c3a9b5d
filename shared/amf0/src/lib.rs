//! AMF0: the values in RTMP commands and in the metadata of FLV files (AMF0 specification, 2007).
//!
//! Bytes to values and back, with bounds; nothing here knows what a value means, and nothing is ever constructed from
//! a class name that a peer sent.
//!
//! ```
//! use amf0::{Limits, Value, decode_all, encode};
//! let mut bytes = Vec::new();
//! encode(&Value::from("connect"), &mut bytes);
//! encode(&Value::Number(1.0), &mut bytes);
//! let values = decode_all(&bytes, &Limits::default())?;
//! assert_eq!(values.first().and_then(Value::as_str), Some("connect"));
//! # Ok::<(), amf0::Error>(())
//! ```

#![forbid(unsafe_code)]

mod decode;
mod deserializer;
mod encode;
mod error;
mod limits;
mod serializer;
mod value;
mod value_serde;

pub use decode::{decode, decode_all, decode_leading};
pub use deserializer::{from_bytes, from_value};
pub use encode::{encode, encode_all};
pub use error::Error;
pub use limits::Limits;
pub use serializer::{to_bytes, to_value};
pub use value::Value;
