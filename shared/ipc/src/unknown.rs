//! What another version of this program says, and this one has no word for: it is told apart from what is no message.

use std::fmt;

use serde::de::value::Error as Refusal;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Most letters of a name that are repeated in logs and answers.
const MAX_NAME: usize = 64;

/// The name of the message in `body`, when it is a whole message and `T` has none of that name.
pub(crate) fn unknown_variant<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let Named(name) = rmp_serde::from_slice(body).ok()?;
    let is_unknown = !variants::<T>()?.contains(&name.as_str());
    is_unknown.then(|| name.chars().take(MAX_NAME).flat_map(char::escape_debug).collect())
}

/// The names of the variants of an enum, as its `Deserialize` tells them to whoever reads for it.
fn variants<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut names = None;
    let _ = T::deserialize(Names(&mut names));
    names
}

/// Reads nothing: it only takes down what is expected.
struct Names<'n>(&'n mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        Err(Refusal::custom("there is nothing to read"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refusal> {
        *self.0 = Some(variants);
        Err(Refusal::custom("there is nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The name of a variant: alone, or with its content, which may be anything.
struct Named(String);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor).map(Self)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the variant of an enum")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        Ok(name.to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let entry = map.next_entry::<String, IgnoredAny>()?;
        let is_last = map.next_key::<IgnoredAny>()?.is_none();
        entry.filter(|_| is_last).map(|(name, _)| name).ok_or_else(|| A::Error::custom("not one variant"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::{ChildToMaster, MasterToChild};

    #[derive(Serialize)]
    enum Later {
        Ping,
        Wink,
        Dance { partner: String, steps: Vec<u32> },
        Sing(Option<u8>),
    }

    fn unknown(message: &impl Serialize) -> Option<String> {
        unknown_variant::<MasterToChild>(&rmp_serde::to_vec_named(message).unwrap())
    }

    #[test]
    fn what_a_later_version_says_has_a_name() {
        assert_eq!(unknown(&Later::Wink).as_deref(), Some("Wink"));
        let dance = Later::Dance { partner: "x".to_owned(), steps: vec![1, 2] };
        assert_eq!(unknown(&dance).as_deref(), Some("Dance"));
        assert_eq!(unknown(&Later::Sing(Some(1))).as_deref(), Some("Sing"));
        assert_eq!(unknown(&Later::Ping), None, "this one is known");
        assert!(variants::<ChildToMaster>().unwrap().contains(&"Pong"));
    }

    #[test]
    fn what_is_no_message_has_none() {
        let long = "\n".repeat(100_000);
        for bytes in [&b""[..], b"\xc1", b"\x07", b"\x90", b"\x80", b"\x82\xa1a\x01\xa1b\x02", b"\x81\xa1a"] {
            assert_eq!(unknown_variant::<MasterToChild>(bytes), None, "{bytes:x?}");
        }
        assert_eq!(unknown(&long).map(|name| name.len()), Some(2 * MAX_NAME));
        assert_eq!(unknown_variant::<u32>(&rmp_serde::to_vec_named(&Later::Wink).unwrap()), None);
    }
}
