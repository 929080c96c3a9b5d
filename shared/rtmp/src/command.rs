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
    /// What is wrong with the bytes behind the last value, if there are any that are no value. No harm while nothing
    /// that stands there is needed.
    pub garbage: Option<amf0::Error>,
}

impl Command {
    /// Reads the AMF0 of a command, a leading AMF3 flavour byte already taken away. Bytes behind its values that are
    /// no value are passed over.
    ///
    /// # Errors
    /// When there is not even a name, or the values are beyond the limits.
    pub fn decode(payload: &[u8], limits: &amf0::Limits) -> Result<Self, amf0::Error> {
        let (values, garbage) = amf0::decode_leading(payload, limits)?;
        let mut values = values.into_iter();
        let name = match (values.next(), &garbage) {
            (Some(Value::String(name)), _) => name,
            (None, Some(error)) => return Err(error.clone()),
            _ => String::new(),
        };
        let transaction = values.next().and_then(|value| value.as_f64()).filter(|number| number.is_finite());
        Ok(Self { name, transaction: transaction.unwrap_or_default(), args: values.collect(), garbage })
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
