//! An AMF0 value as data. Property order is kept, because peers look at it.

/// One AMF0 value (AMF0 specification, section 2).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Marker 0x00.
    Number(f64),
    /// Marker 0x01.
    Boolean(bool),
    /// Marker 0x02; longer than 65535 bytes it is written with marker 0x0C.
    String(String),
    /// Marker 0x03, properties in order.
    Object(Vec<(String, Self)>),
    /// Marker 0x05.
    #[default]
    Null,
    /// Marker 0x06.
    Undefined,
    /// Marker 0x07: the n-th complex value of the message; never resolved.
    Reference(u16),
    /// Marker 0x08, properties in order.
    EcmaArray(Vec<(String, Self)>),
    /// Marker 0x0A.
    StrictArray(Vec<Self>),
    /// Marker 0x0B.
    Date {
        /// Milliseconds since 1970, UTC.
        ms: f64,
        /// Minutes; reserved, should be 0.
        tz: i16,
    },
    /// Marker 0x0C.
    LongString(String),
    /// Marker 0x0D.
    Unsupported,
    /// Marker 0x0F.
    XmlDocument(String),
    /// Marker 0x10; only data, no class is ever looked up.
    TypedObject {
        /// Class name.
        class: String,
        /// Properties in order.
        properties: Vec<(String, Self)>,
    },
}

impl Value {
    /// The text of a string, long string or XML document.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::LongString(text) | Self::XmlDocument(text) => Some(text),
            _ => None,
        }
    }

    /// The number, NaN and infinities included.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number when it is a whole one within `u32`.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        whole(self.as_f64()?).and_then(|number| u32::try_from(number).ok())
    }

    /// The number when it is a whole one, not negative, and exactly representable (at most 2^53).
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        whole(self.as_f64()?).and_then(|number| u64::try_from(number).ok())
    }

    /// The boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// Whether this is null or undefined.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }

    /// The properties of an object, ECMA array or typed object.
    #[must_use]
    pub fn properties(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) | Self::TypedObject { properties, .. } => {
                Some(properties)
            }
            _ => None,
        }
    }

    /// The elements of a strict array.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::StrictArray(elements) => Some(elements),
            _ => None,
        }
    }

    /// The first property of that name, of anything that has properties.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.properties()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// How often a property name occurs: a name that decides something should occur once.
    #[must_use]
    pub fn count(&self, key: &str) -> usize {
        self.properties().map_or(0, |properties| properties.iter().filter(|(name, _)| name == key).count())
    }

    /// An object from properties.
    #[must_use]
    pub fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(properties.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

/// A whole number of at most 2^53 in magnitude, as an integer.
pub(crate) fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || !(-EXACT..=EXACT).contains(&number) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53 by the test above")]
    let integer = number as i64;
    Some(integer)
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}
