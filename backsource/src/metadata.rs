//! Data messages of publishers: onMetaData is completed and kept, other events are passed on, the rest is dropped.

use amf0::{Limits, Value};

/// What a data message is.
#[derive(Debug, PartialEq)]
pub(crate) enum DataMessage {
    /// onMetaData: to be kept. The bytes as viewers get them, and what it says of the stream.
    Metadata {
        /// AMF0: the name, then one object.
        bytes: Vec<u8>,
        /// Numbers that matter here.
        facts: Facts,
    },
    /// Another event (cue points, captions): passed on as it is, without `@setDataFrame`.
    Event(Vec<u8>),
    /// Nothing for viewers.
    Ignored,
}

/// What metadata says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) frame_rate: Option<f64>,
    pub(crate) sample_rate: Option<f64>,
    /// `bravo_atc` is the string "true": the publisher's clock is absolute.
    pub(crate) absolute_time: bool,
}

/// Properties that speak of a file, which a live stream is none of: of where it came from, or of one that it was recorded to.
const OF_FILES: [&str; 14] = [
    "duration",
    "filesize",
    "datasize",
    "videosize",
    "audiosize",
    "lasttimestamp",
    "lastkeyframetimestamp",
    "lastkeyframelocation",
    "keyframes",
    "hasKeyframes",
    "canSeekToEnd",
    "totalframes",
    "recording",
    "continues",
];
/// What recordings are filled up with.
const FILLER: &str = "spacer";

/// Reads a data message of a publisher. `version` is the server's.
pub(crate) fn read(payload: &[u8], limits: &Limits, version: &str) -> DataMessage {
    let Ok(values) = amf0::decode_all(payload, limits) else {
        return DataMessage::Ignored;
    };
    let wrapped = values.first().and_then(Value::as_str) == Some("@setDataFrame");
    let values = values.get(usize::from(wrapped)..).unwrap_or(&[]);
    let Some(name) = values.first().and_then(Value::as_str) else {
        return DataMessage::Ignored;
    };
    match name {
        "onMetaData" => match values.get(1) {
            Some(Value::Object(properties) | Value::EcmaArray(properties)) => complete(properties, version),
            _ => DataMessage::Ignored,
        },
        "@clearDataFrame" | "|RtmpSampleAccess" => DataMessage::Ignored,
        _ => {
            let mut bytes = Vec::new();
            for value in values {
                amf0::encode(value, &mut bytes);
            }
            DataMessage::Event(bytes)
        }
    }
}

/// The publisher's properties in their order, then the server's own.
fn complete(properties: &[(String, Value)], version: &str) -> DataMessage {
    let number =
        |name: &str| properties.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_f64());
    let facts = Facts {
        frame_rate: number("framerate"),
        sample_rate: number("audiosamplerate"),
        absolute_time: properties
            .iter()
            .any(|(key, value)| key == "bravo_atc" && value.as_str() == Some("true")),
    };
    let own = [("server", format!("SRS/{version}")), ("server_version", version.to_owned())];
    let is_kept = |name: &str| {
        !OF_FILES.contains(&name) && !name.starts_with(FILLER) && own.iter().all(|(own, _)| name != *own)
    };
    let mut all: Vec<(String, Value)> =
        properties.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    all.extend(own.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))));
    let mut bytes = Vec::new();
    amf0::encode(&Value::String("onMetaData".to_owned()), &mut bytes);
    amf0::encode(&Value::Object(all), &mut bytes);
    DataMessage::Metadata { bytes, facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| amf0::encode(value, &mut bytes));
        bytes
    }

    #[test]
    fn metadata_keeps_its_fields_and_gains_ours() {
        let fields = vec![
            ("width".to_owned(), Value::Number(640.0)),
            ("framerate".to_owned(), Value::Number(25.0)),
            ("audiosamplerate".to_owned(), Value::Number(44100.0)),
            ("server".to_owned(), Value::String("somebody".to_owned())),
            ("duration".to_owned(), Value::Number(3600.0)),
            ("filesize".to_owned(), Value::Number(1e9)),
            ("keyframes".to_owned(), Value::Object(Vec::new())),
            ("spacer3".to_owned(), Value::String(String::new())),
        ];
        for prefix in [vec![], vec![Value::String("@setDataFrame".to_owned())]] {
            let mut message = prefix;
            message.push(Value::String("onMetaData".to_owned()));
            message.push(Value::EcmaArray(fields.clone()));
            let DataMessage::Metadata { bytes, facts } = read(&encode(&message), &Limits::default(), "1.2.3")
            else {
                panic!("not recognised");
            };
            assert_eq!((facts.frame_rate, facts.sample_rate), (Some(25.0), Some(44100.0)));
            let values = amf0::decode_all(&bytes, &Limits::default()).unwrap();
            let Some(Value::Object(properties)) = values.get(1) else { panic!("{values:?}") };
            let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["width", "framerate", "audiosamplerate", "server", "server_version"]);
            assert_eq!(properties[3].1.as_str(), Some("SRS/1.2.3"));
        }
    }

    #[test]
    fn other_data_is_passed_on_or_dropped() {
        let cue = encode(&[Value::String("onCuePoint".to_owned()), Value::Number(1.0)]);
        assert_eq!(read(&cue, &Limits::default(), "1.2.3"), DataMessage::Event(cue.clone()));
        let clear = encode(&[Value::String("@clearDataFrame".to_owned())]);
        assert_eq!(read(&clear, &Limits::default(), "1.2.3"), DataMessage::Ignored);
        assert_eq!(read(&[0x02, 0xff], &Limits::default(), "1.2.3"), DataMessage::Ignored);
        assert_eq!(
            read(&encode(&[Value::String("onMetaData".to_owned())]), &Limits::default(), "1.2.3"),
            DataMessage::Ignored
        );
    }
}
