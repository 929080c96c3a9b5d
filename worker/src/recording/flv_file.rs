//! An FLV file while it is written: playable at every moment, and with its duration and an index of key frames when it is
//! finished. The first tag holds the metadata with room for both; finishing writes over that tag alone.

use amf0::{Limits, Value};
use media::Kind;

/// Most entries of the index; of longer recordings every second, fourth … key frame is in it.
const INDEX: usize = 512;
/// Bytes of the first tag's body beside the publisher's own metadata: two arrays of numbers, and their names.
const RESERVE: usize = INDEX * 18 + 640;
/// What fills the room that is not needed: so many texts, none longer than players take. Their names tell a repairer that the
/// tag may be written over.
const SPACERS: usize = 11;
const SPACER: &str = "spacer";
const MAX_SPACER: usize = 1000;

/// How many tags are marked.
pub(crate) const MARKS: usize = 4;
/// The property that says what a file is continued with.
const STATE: &str = "recording";
/// The property of a script tag that says what the part is that it begins.
pub(crate) const CONTINUES: &str = "continues";

/// What belongs at the place of the first tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct FlvFile {
    properties: Vec<(String, Value)>,
    /// Bytes of the first tag's body.
    body_len: usize,
    len: u64,
    first_ms: Option<u32>,
    last_ms: u32,
    index: Vec<(u32, u64)>,
    /// One of so many key frames is in the index.
    every: u64,
    keys: u64,
    /// Where tags are that whoever continues the file has to know; 0: nowhere.
    pub(crate) marks: [u64; MARKS],
    audio: bool,
    video: bool,
}

impl FlvFile {
    /// Begins a file with the publisher's metadata (the body of its data message). What comes out are its first bytes.
    pub(crate) fn begin(metadata: Option<&[u8]>, audio: bool, video: bool) -> (Self, Vec<u8>) {
        let properties = metadata.map(properties_of).unwrap_or_default();
        let mut file = Self {
            body_len: encode(&properties, &[]).len() + RESERVE,
            properties,
            len: 0,
            first_ms: None,
            last_ms: 0,
            index: Vec::new(),
            every: 1,
            keys: 0,
            marks: [0; MARKS],
            audio,
            video,
        };
        let mut out = flv::file::header(audio, video).to_vec();
        out.extend(file.first_tag());
        file.len = out.len() as u64;
        (file, out)
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Length of the media so far, ms.
    pub(crate) fn duration_ms(&self) -> u32 {
        self.last_ms - self.first_ms.unwrap_or(self.last_ms)
    }

    /// The publisher's own metadata.
    pub(crate) fn properties(&self) -> &[(String, Value)] {
        &self.properties
    }

    /// Time of the last tag, ms.
    pub(crate) fn last_ms(&self) -> u32 {
        self.last_ms
    }

    /// Whether it has pictures, and sounds.
    pub(crate) fn tracks(&self) -> [bool; 2] {
        [self.video, self.audio]
    }

    /// So much of it is whole.
    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = len;
    }

    /// A tag of this kind is there.
    pub(crate) fn has(&mut self, kind: Kind) {
        self.video |= kind == Kind::Video;
        self.audio |= kind == Kind::Audio;
    }

    /// Appends a tag to `out`.
    pub(crate) fn tag(&mut self, out: &mut Vec<u8>, kind: Kind, time_ms: u32, body: &[u8], is_key: bool) {
        let before = out.len();
        if !flv::file::write_tag(out, kind, time_ms, body) {
            return;
        }
        self.note(kind, time_ms, is_key);
        // What began later than the file is announced when it is finished.
        self.has(kind);
        self.len += (out.len() - before) as u64;
    }

    fn note(&mut self, kind: Kind, time_ms: u32, is_key: bool) {
        if kind != Kind::Data {
            self.first_ms.get_or_insert(time_ms);
            self.last_ms = self.last_ms.max(time_ms);
        }
        if is_key {
            if self.keys.is_multiple_of(self.every) {
                self.index.push((time_ms, self.len));
            }
            self.keys += 1;
            if self.index.len() > INDEX {
                let mut keep = false;
                self.index.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.every *= 2;
            }
        }
    }

    /// The beginning as it is when nothing follows any more.
    pub(crate) fn finish(&self) -> Patch {
        let mut bytes = flv::file::header(self.audio, self.video).to_vec();
        bytes.extend(self.first_tag());
        Patch { at: 0, bytes }
    }

    fn first_tag(&self) -> Vec<u8> {
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        let seconds = |ms: u32| f64::from(ms) / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
        let place = |at: u64| at as f64;
        let list = |values: Vec<f64>| Value::StrictArray(values.into_iter().map(Value::Number).collect());
        let times = list(self.index.iter().map(|(time, _)| seconds(*time)).collect());
        let places = list(self.index.iter().map(|(_, at)| place(*at)).collect());
        let mut own = vec![
            number("duration", seconds(self.duration_ms())),
            number("filesize", place(self.len)),
            ("hasKeyframes".to_owned(), Value::Boolean(!self.index.is_empty())),
            ("hasAudio".to_owned(), Value::Boolean(self.audio)),
            ("hasVideo".to_owned(), Value::Boolean(self.video)),
            (STATE.to_owned(), list(self.state().map(place).to_vec())),
            (
                "keyframes".to_owned(),
                Value::Object(vec![("times".to_owned(), times), ("filepositions".to_owned(), places)]),
            ),
        ];
        let first = own.len();
        own.extend((0..SPACERS).map(|n| (format!("{SPACER}{n}"), Value::String(String::new()))));
        let mut missing = self.body_len.saturating_sub(encode(&self.properties, &own).len());
        for (_, spacer) in own.iter_mut().skip(first) {
            let count = missing.min(MAX_SPACER);
            missing -= count;
            *spacer = Value::String(" ".repeat(count));
        }
        let mut out = Vec::new();
        flv::file::write_tag(&mut out, Kind::Data, 0, &encode(&self.properties, &own));
        out
    }

    /// What a file is continued with, beside its index and its marks.
    fn state(&self) -> [u64; 3 + MARKS] {
        let [a, b, c, d] = self.marks;
        let first_ms = self.first_ms.unwrap_or(self.last_ms);
        [self.every, u64::from(first_ms), u64::from(self.last_ms), a, b, c, d]
    }

    /// A tag that is there already at this place.
    pub(crate) fn pass(&mut self, tag: &flv::file::Tag, at: u64) {
        let info = flv::classify(tag.kind, &tag.body);
        self.len = at;
        self.note(tag.kind, tag.timestamp_ms, info.key_frame);
        self.has(tag.kind);
        self.len = at + tag.body.len() as u64 + 15;
    }

    /// Takes up a file by its first tag alone, up to a key frame of its index, so many before the last one; `len` is how long it
    /// is now. Returns where that key frame is: what follows has to be passed.
    pub(crate) fn take_up(&mut self, first: &flv::file::Tag, len: u64, before: usize) -> Option<u64> {
        let all = all_properties(&first.body);
        let find = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let number = |value: &Value| {
            let value = value.as_f64().filter(|value| (0.0..9e15).contains(value))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            Some(value as u64)
        };
        let numbers = |value: &Value| match value {
            Value::StrictArray(values) => values.iter().map(number).collect::<Option<Vec<u64>>>(),
            _ => None,
        };
        let closed_at = find("filesize").and_then(number).filter(|at| *at <= len)?;
        let [every, first_ms, last_ms, marks @ ..] =
            *find(STATE).and_then(numbers)?.first_chunk::<{ 3 + MARKS }>()?;
        let Some(Value::Object(keyframes)) = find("keyframes") else { return None };
        let inner = |name: &str| keyframes.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let places = inner("filepositions").and_then(numbers)?;
        let Some(Value::StrictArray(times)) = inner("times") else { return None };
        let times = times.iter().map(|time| number(&Value::Number(time.as_f64()? * 1000.0 + 0.5)));
        let times = times.map(|time| u32::try_from(time?).ok()).collect::<Option<Vec<u32>>>()?;
        let index: Vec<(u32, u64)> = times.into_iter().zip(places).collect();
        let in_order = index.windows(2).all(|pair| matches!(pair, [one, other] if one.1 < other.1));
        let within = marks.iter().chain(index.last().map(|(_, at)| at)).all(|at| *at < closed_at);
        let from = index.len().checked_sub(before + 1)?;
        let (_, last_at) = index.get(from).copied().filter(|_| in_order && within && index.len() <= INDEX)?;
        self.first_ms = Some(u32::try_from(first_ms).ok()?);
        self.last_ms = u32::try_from(last_ms).ok()?;
        self.every = every.clamp(1, 1 << 40);
        self.marks = marks;
        self.index = index;
        self.index.truncate(from);
        let is = |name: &str| matches!(find(name), Some(Value::Boolean(true)));
        (self.audio, self.video) = (is("hasAudio"), is("hasVideo"));
        self.len = last_at;
        Some(last_at)
    }

    pub(crate) fn of_first(tag: &flv::file::Tag) -> Option<Self> {
        if tag.kind != Kind::Data {
            return None;
        }
        let all = all_properties(&tag.body);
        all.iter().any(|(name, _)| name.starts_with(SPACER)).then(|| Self {
            properties: properties_of(&tag.body),
            body_len: tag.body.len(),
            len: 0,
            first_ms: None,
            last_ms: 0,
            index: Vec::new(),
            every: 1,
            keys: 0,
            marks: [0; MARKS],
            audio: false,
            video: false,
        })
    }
}

fn limits() -> Limits {
    // Our own index, and what is taken from a publisher: an index of its own, a packet of XMP.
    Limits { nodes: 4 * INDEX + 65_536, keys: 1_024, string: 1 << 20, total: 8 << 20, ..Limits::default() }
}

pub(crate) fn all_properties(body: &[u8]) -> Vec<(String, Value)> {
    match amf0::decode_all(body, &limits()).ok().and_then(|values| values.into_iter().nth(1)) {
        Some(Value::Object(properties) | Value::EcmaArray(properties)) => properties,
        _ => Vec::new(),
    }
}

/// The publisher's properties, without those that the file says itself.
pub(crate) fn properties_of(body: &[u8]) -> Vec<(String, Value)> {
    let own = ["duration", "filesize", "hasKeyframes", "hasAudio", "hasVideo", "keyframes", STATE, CONTINUES];
    let mut properties = all_properties(body);
    properties.retain(|(name, _)| !own.contains(&name.as_str()) && !name.starts_with(SPACER));
    properties
}

pub(crate) fn encode(properties: &[(String, Value)], own: &[(String, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    amf0::encode(&Value::String("onMetaData".to_owned()), &mut out);
    amf0::encode(&Value::EcmaArray([properties, own].concat()), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Vec<u8> {
        let fields =
            vec![("width".to_owned(), Value::Number(640.0)), ("duration".to_owned(), Value::Number(9.0))];
        let mut out = Vec::new();
        amf0::encode(&Value::String("onMetaData".to_owned()), &mut out);
        amf0::encode(&Value::Object(fields), &mut out);
        out
    }

    #[test]
    fn long_metadata_keep_what_a_recording_can_use() {
        let times = Value::StrictArray((0..30_000).map(|n| Value::Number(f64::from(n))).collect());
        let mut body = Vec::new();
        let fields = [
            ("width", Value::Number(640.0)),
            ("xmp", "x".repeat(200_000).into()),
            ("keyframes", Value::object([("times", times)])),
        ];
        amf0::encode_all(&["onMetaData".into(), Value::object(fields)], &mut body);
        let names: Vec<String> = properties_of(&body).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["width", "xmp"]);
    }

    fn recorded(tags: u32) -> (FlvFile, Vec<u8>) {
        let (mut file, mut out) = FlvFile::begin(Some(&metadata()), true, true);
        for n in 0..tags {
            let key: &[u8] = b"\x17\x01\0\0\0key";
            file.tag(
                &mut out,
                Kind::Video,
                n * 40,
                if n % 25 == 0 { key } else { b"\x27\x01\0\0\0p" },
                n % 25 == 0,
            );
        }
        assert_eq!(file.len(), out.len() as u64);
        (file, out)
    }

    fn apply(out: &mut [u8], patch: &Patch) {
        let at = usize::try_from(patch.at).unwrap();
        out[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }

    fn index(out: &[u8]) -> (Option<f64>, Vec<(f64, u64)>) {
        let mut reader = flv::file::Reader::new();
        reader.push(out);
        let all = all_properties(&reader.next_tag().unwrap().unwrap().body);
        let find = |name: &str, list: &[(String, Value)]| {
            list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let Some(Value::Object(keyframes)) = find("keyframes", &all) else { panic!() };
        let numbers = |name| match find(name, &keyframes) {
            Some(Value::StrictArray(values)) => {
                values.iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
            }
            _ => panic!(),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let places = numbers("filepositions").into_iter().map(|at| at as u64);
        let duration = find("duration", &all).and_then(|value| value.as_f64());
        (duration, numbers("times").into_iter().zip(places).collect())
    }

    #[test]
    fn a_finished_file_knows_its_length_and_where_its_key_frames_are() {
        let (file, mut out) = recorded(100);
        let len = out.len();
        apply(&mut out, &file.finish());
        assert_eq!(out.len(), len);
        let (duration, index) = index(&out);
        assert_eq!((duration, index.len()), (Some(3.96), 4));
        for (time, at) in index {
            let at = usize::try_from(at).unwrap();
            assert_eq!(out[at], 9);
            assert!(out[at + 11..].starts_with(b"\x17\x01\0\0\0key"), "at {time} s");
        }
        // Hours of it: the index is thinned out, the tag has the same size.
        let (file, mut out) = recorded(25 * 5000);
        apply(&mut out, &file.finish());
        let (_, index) = self::index(&out);
        assert!((200..=INDEX).contains(&index.len()) && index.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}
