//! Commands (specification 7.1.1): a name, a transaction number and AMF0 values. Which commands exist, and what they
//! do, is the sessions' business.

use amf0::Value;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its name; empty when it was not a string.
    pub name: String,
    /// Number that the answer repeats; 0 when none is wanted, or when it was not a finite number.
    pub transaction: f64,
    /// The values behind: first the command object (often null), then the arguments.
    pub args: Vec<Value>,
}

impl Command {
    /// Reads the AMF0 of a command, a leading AMF3 flavour byte already taken away.
    ///
    /// # Errors
    /// When it is not AMF0 within the limits.
    pub fn decode(payload: &[u8], limits: &amf0::Limits) -> Result<Self, amf0::Error> {
        let mut values = amf0::decode_all(payload, limits)?.into_iter();
        let name = match values.next() {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        let transaction = values.next().and_then(|value| value.as_f64()).filter(|number| number.is_finite());
        Ok(Self { name, transaction: transaction.unwrap_or_default(), args: values.collect() })
    }

    /// The AMF0 of a command.
    #[must_use]
    pub fn encode(name: &str, transaction: f64, args: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        amf0::encode(&Value::from(name), &mut out);
        amf0::encode(&Value::Number(transaction), &mut out);
        amf0::encode_all(args, &mut out);
        out
    }

    /// The argument behind the command object, counted from 0.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<&Value> {
        self.args.get(index + 1)
    }
}
