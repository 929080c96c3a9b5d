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
    /// Not understood, or more than is taken.
    Unreadable(amf0::Error),
}

/// Values of one data message: an index of the key frames of some hours fits.
const NODES: usize = 65_536;

/// What the data messages of publishers may consist of: their length is limited already.
pub(crate) fn limits(limits: &conf::config::Limits) -> Limits {
    let bytes = limits.max_data_message as usize;
    Limits {
        depth: limits.amf_depth as usize,
        nodes: NODES.max(limits.amf_nodes as usize),
        keys: 1_024.max(limits.amf_keys as usize),
        string: bytes,
        // A value takes some dozens of bytes in memory, whatever its text.
        total: bytes + NODES * 64,
    }
}

/// The metadata as it is kept for viewers who join later: without its largest properties, as many as it takes to be no
/// longer than `max` bytes, and their names.
pub(crate) fn shortened(bytes: &[u8], max: usize, limits: &Limits) -> (Vec<u8>, Vec<String>) {
    let mut left_out = Vec::new();
    let Ok(values) = amf0::decode_all(bytes, limits) else { return (Vec::new(), left_out) };
    let mut properties = values.get(1).and_then(Value::properties).map(<[_]>::to_vec).unwrap_or_default();
    let size = |value: &Value| {
        let mut bytes = Vec::new();
        amf0::encode(value, &mut bytes);
        bytes.len()
    };
    loop {
        let short = encoded(properties.clone());
        let largest = properties.iter().enumerate().max_by_key(|(_, (_, value))| size(value));
        match largest.map(|(at, _)| at) {
            Some(at) if short.len() > max => left_out.push(properties.remove(at).0),
            _ => return (short, left_out),
        }
    }
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
    let (values, garbage) = match amf0::decode_leading(payload, limits) {
        Ok(read) => read,
        Err(error) => return DataMessage::Unreadable(error),
    };
    let wrapped = values.first().and_then(Value::as_str) == Some("@setDataFrame");
    let values = values.get(usize::from(wrapped)..).unwrap_or(&[]);
    let unreadable = || garbage.clone().map_or(DataMessage::Ignored, DataMessage::Unreadable);
    let Some(name) = values.first().and_then(Value::as_str) else {
        return unreadable();
    };
    match name {
        "onMetaData" => match values.get(1) {
            Some(Value::Object(properties) | Value::EcmaArray(properties)) => complete(properties, version),
            _ => unreadable(),
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
    DataMessage::Metadata { bytes: encoded(all), facts }
}

fn encoded(properties: Vec<(String, Value)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    amf0::encode(&Value::String("onMetaData".to_owned()), &mut bytes);
    amf0::encode(&Value::Object(properties), &mut bytes);
    bytes
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
        assert!(matches!(read(&[0x02, 0xff], &Limits::default(), "1.2.3"), DataMessage::Unreadable(_)));
        assert_eq!(read(&[0x05], &Limits::default(), "1.2.3"), DataMessage::Ignored);
        assert_eq!(
            read(&encode(&[Value::String("onMetaData".to_owned())]), &Limits::default(), "1.2.3"),
            DataMessage::Ignored
        );
    }

    #[test]
    fn garbage_behind_the_values_does_not_matter() {
        let mut message =
            encode(&[Value::from("onMetaData"), Value::object([("width", Value::Number(640.0))])]);
        message.extend_from_slice(&[0xFF, 1, 2]);
        assert!(matches!(read(&message, &Limits::default(), "1.2.3"), DataMessage::Metadata { .. }));
        message.truncate(20);
        assert!(matches!(read(&message, &Limits::default(), "1.2.3"), DataMessage::Unreadable(_)));
    }

    #[test]
    fn an_index_of_key_frames_is_taken_and_not_kept() {
        let limits = limits(&conf::config::Limits::default());
        let numbers = Value::StrictArray((0..10_000).map(|n| Value::Number(f64::from(n))).collect());
        let index = Value::object([("times", numbers.clone()), ("filepositions", numbers)]);
        let xmp = "x".repeat(100_000).into();
        let fields =
            [("width", Value::Number(640.0)), ("keyframes", index), ("xmp", xmp), ("height", Value::Null)];
        let message = encode(&[Value::from("onMetaData"), Value::object(fields)]);
        let DataMessage::Metadata { bytes, .. } = read(&message, &limits, "1.2.3") else {
            panic!("not recognised")
        };
        // The index speaks of a file, which a live stream is none of.
        assert!((100_000..200_000).contains(&bytes.len()), "{}", bytes.len());
        let (short, left_out) = shortened(&bytes, 65_536, &limits);
        assert_eq!(left_out, ["xmp"]);
        let values = amf0::decode_all(&short, &Limits::default()).unwrap();
        let names: Vec<&str> = values[1].properties().unwrap().iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["width", "height", "server", "server_version"]);
    }
}
