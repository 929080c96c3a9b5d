//! The end of an FLV file that is continued: the last times, sequence headers and metadata, so that what follows has its times
//! behind them and repeats nothing. Each part begins with a script tag that says which publish it is of: a process that dies
//! in the middle of one is succeeded by one that goes on where the file ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use amf0::Value;
use bytes::Bytes;
use flv::file::{HEADER_BYTES, MAX_TAG_BYTES, Reader, Tag};
use media::Kind;
use mediaring::Flags;

use super::continued::{Found, Length, Origin, Start, Tail};
use super::flv_file::{CONTINUES, FlvFile, Patch, all_properties, encode, properties_of};
use crate::reading::Publish;

/// Bytes that are read back at once.
const READ: usize = 1 << 20;
/// Longest time that a tag can say, ms.
const MAX_MS: i64 = 0x7fff_ffff;
/// A file that lasts so long is not continued, ms: times have 31 bits, which are 24 days.
const LONGEST_MS: u32 = 20 * 86_400_000;
/// Usual distance of two tags, ms; and the longest that is taken for one.
const USUAL_STEP_MS: u32 = 20;
const MAX_STEP_MS: u32 = 1000;
/// How many key frames before the last one reading begins, until all tracks are met.
const STEPS_BACK: [usize; 3] = [1, 10, 60];
/// Marks of a file: where its last sequence headers, metadata and origin are.
const METADATA: usize = 2;
const ORIGIN: usize = 3;

/// A file with what is known of its end.
#[derive(Debug, Clone)]
pub(crate) struct FlvTail {
    flv: FlvFile,
    headers: [Option<Bytes>; 2],
    metadata: Vec<(String, Value)>,
    /// Times of the last tags: pictures, sounds, data.
    last_ms: [Option<u32>; 3],
    /// Their distances from those before.
    steps_ms: [u32; 3],
    origin: Option<Origin>,
    /// Nothing that follows is earlier, ms.
    floor_ms: u32,
    /// What follows may be in the file already.
    repeats: [bool; 3],
}

const fn place(kind: Kind) -> usize {
    match kind {
        Kind::Video => 0,
        Kind::Audio => 1,
        Kind::Data => 2,
    }
}

impl FlvTail {
    fn of(flv: FlvFile) -> Self {
        Self {
            metadata: flv.properties().to_vec(),
            flv,
            headers: [None, None],
            last_ms: [None; 3],
            steps_ms: [USUAL_STEP_MS; 3],
            origin: None,
            floor_ms: 0,
            repeats: [false; 3],
        }
    }

    /// Begins a file.
    pub(crate) fn begin(start: &Start) -> (Self, Vec<u8>) {
        let has_audio = start.track_set.audio.is_some() || start.headers[1].is_some();
        let (flv, bytes) =
            FlvFile::begin(start.metadata.as_deref(), has_audio, start.track_set.video.is_some());
        (Self::of(flv), bytes)
    }

    /// Reads a file that is there.
    pub(crate) fn find(file: &File) -> io::Result<Found> {
        Ok(match Self::read_back(file)? {
            None => Found::Alien,
            Some(tail) if tail.flv.last_ms() > LONGEST_MS => Found::Other("is as long as an FLV file can be"),
            Some(tail) => Found::Fits(Tail::Flv(Box::new(tail))),
        })
    }

    /// Takes up a file: what of it is whole. Returns `None` when it is no recording.
    pub(crate) fn read_back(file: &File) -> io::Result<Option<Self>> {
        let total = file.metadata()?.len();
        let mut head = [0; 9];
        if total < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0)?;
        if !head.starts_with(b"FLV\x01") || !head.ends_with(&[0, 0, 0, 9]) {
            return Ok(None);
        }
        let Some(first) = tag_at(file, HEADER_BYTES as u64, total)? else { return Ok(None) };
        let Some(flv) = FlvFile::of_first(&first) else { return Ok(None) };
        let mut begun = Self::of(flv);
        let at = HEADER_BYTES as u64 + first.body.len() as u64 + 15;
        begun.flv.set_len(at);
        // What was finished once is known up to its end: a little of it tells the rest. Of what was not, all has to be read.
        for before in STEPS_BACK {
            let mut quick = begun.clone();
            if let Some(from) = quick.flv.take_up(&first, total, before)
                && quick.read_marks(file, total)?
                && tag_at(file, from, total)?.is_some_and(|tag| flv::classify(tag.kind, &tag.body).key_frame)
            {
                quick.pass_all(file, from)?;
                let known = quick.flv.tracks().into_iter().zip(quick.last_ms);
                if known.into_iter().all(|(has, last_ms)| !has || last_ms.is_some()) {
                    return Ok(Some(quick));
                }
            }
        }
        begun.pass_all(file, at)?;
        Ok(Some(begun))
    }

    /// Reads all whole tags from a place on.
    fn pass_all(&mut self, file: &File, mut at: u64) -> io::Result<()> {
        let mut reader = Reader::new();
        reader.push(&flv::file::header(true, true));
        let (mut from, mut buffer) = (at, vec![0; READ]);
        loop {
            let count = file.read_at(&mut buffer, from)?;
            if count == 0 {
                return Ok(());
            }
            from += count as u64;
            reader.push(buffer.get(..count).unwrap_or(&[]));
            loop {
                match reader.next_tag() {
                    Ok(Some(tag)) => {
                        self.flv.pass(&tag, at);
                        self.observe(&tag, at);
                        at += tag.body.len() as u64 + 15;
                    }
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
        }
    }

    /// Reads what the file's marks say. `false` when they say nothing that can be.
    fn read_marks(&mut self, file: &File, total: u64) -> io::Result<bool> {
        for (n, at) in self.flv.marks.into_iter().enumerate().filter(|(_, at)| *at > 0) {
            let Some(tag) = tag_at(file, at, total)? else { return Ok(false) };
            let info = flv::classify(tag.kind, &tag.body);
            let is_it = match n {
                METADATA | ORIGIN => tag.kind == Kind::Data,
                n => place(tag.kind) == n && info.sequence_header,
            };
            if !is_it {
                return Ok(false);
            }
            self.observe(&tag, at);
        }
        Ok(true)
    }

    /// A tag that is in the file.
    fn observe(&mut self, tag: &Tag, at: u64) {
        let n = place(tag.kind);
        if tag.kind == Kind::Data {
            let all = all_properties(&tag.body);
            if let Some((_, part)) = all.iter().find(|(name, _)| name == CONTINUES) {
                self.origin = origin_of(part);
                self.mark(ORIGIN, at);
            }
            let own = properties_of(&tag.body);
            if !own.is_empty() {
                self.metadata = own;
                self.mark(METADATA, at);
            }
        } else if let info = flv::classify(tag.kind, &tag.body)
            && (info.sequence_header || info.beside)
        {
            if info.beside || info.track != 0 {
                return;
            }
            if let Some(header) = self.headers.get_mut(n) {
                *header = Some(Bytes::copy_from_slice(&tag.body));
            }
            self.mark(n, at);
        } else {
            self.note_time(tag.kind, tag.timestamp_ms);
        }
    }

    fn mark(&mut self, which: usize, at: u64) {
        if let Some(mark) = self.flv.marks.get_mut(which) {
            *mark = at;
        }
    }

    fn note_time(&mut self, kind: Kind, time_ms: u32) {
        let n = place(kind);
        if let (Some(last), Some(step)) = (self.last_ms.get_mut(n), self.steps_ms.get_mut(n)) {
            if let Some(step_ms) = last.and_then(|last| time_ms.checked_sub(last)).filter(|step| *step > 0) {
                *step = step_ms.min(MAX_STEP_MS);
            }
            *last = Some(last.map_or(time_ms, |last| last.max(time_ms)));
        }
    }

    /// Something follows. Returns what is written before it.
    pub(crate) fn go_on(&mut self, start: &Start) -> io::Result<Vec<u8>> {
        let known = self.origin.filter(|origin| origin.publish == start.publish);
        self.repeats = [known.is_some(); 3];
        let ends = self.last_ms.iter().zip(self.steps_ms).filter_map(|(last, step)| Some((*last)? + step));
        self.floor_ms = if known.is_some() { 0 } else { ends.max().unwrap_or(0) };
        let mut out = Vec::new();
        let properties = start.metadata.as_deref().map(properties_of).unwrap_or_default();
        let is_new = !properties.is_empty() && properties != self.metadata;
        if known.is_none() {
            let floor_ms = i64::from(self.floor_ms);
            let keeps_times = start.absolute && start.dts_ms >= floor_ms;
            let offset_ms = if keeps_times { 0 } else { start.dts_ms - floor_ms };
            let origin = Origin { publish: start.publish, offset_ms };
            self.origin = Some(origin);
            self.mark(ORIGIN, self.flv.len());
            let told = if is_new { properties.as_slice() } else { &[] };
            self.script(&mut out, &encode(told, &[(CONTINUES.to_owned(), part_of(origin))]));
        } else if is_new {
            self.script(&mut out, &encode(&properties, &[]));
        }
        for (kind, header) in [Kind::Video, Kind::Audio].into_iter().zip(&start.headers) {
            for header in header.as_ref().map(flv::kept::split).unwrap_or_default() {
                let info = flv::classify(kind, &header);
                let is_further = info.beside || info.track != 0;
                let flags = if is_further { Flags::FURTHER } else { Flags::default() };
                self.take((kind, start.dts_ms, flags.with(Flags::SEQUENCE_HEADER)), &header, &mut out)?;
            }
        }
        Ok(out)
    }

    /// A script tag: at time 0, as players expect it of metadata.
    fn script(&mut self, out: &mut Vec<u8>, body: &[u8]) {
        let own = properties_of(body);
        if !own.is_empty() {
            self.metadata = own;
            self.mark(METADATA, self.flv.len());
        }
        self.flv.tag(out, Kind::Data, 0, body, false);
    }

    /// Appends what is written for a packet.
    pub(crate) fn take(
        &mut self,
        (kind, dts_ms, flags): (Kind, i64, Flags),
        body: &Bytes,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let n = place(kind);
        if flags.contains(Flags::METADATA) {
            let properties = properties_of(body);
            if !properties.is_empty() && properties != self.metadata {
                self.script(out, &encode(&properties, &[]));
            }
            return Ok(());
        }
        let last_ms = self.last_ms.get(n).copied().flatten();
        let offset_ms = self.origin.map_or(0, |origin| origin.offset_ms);
        let time_ms = dts_ms.saturating_sub(offset_ms).max(i64::from(self.floor_ms));
        if time_ms > MAX_MS {
            return Err(io::Error::other("the file is as long as an FLV file can be"));
        }
        if flags.contains(Flags::SEQUENCE_HEADER.with(Flags::FURTHER)) {
            // Written again with each part: which of them are there is not known.
        } else if flags.contains(Flags::SEQUENCE_HEADER) {
            let Some(known) = self.headers.get_mut(n).filter(|known| known.as_ref() != Some(body)) else {
                return Ok(());
            };
            *known = Some(body.clone());
            self.mark(n, self.flv.len());
        } else if let Some(repeats) = self.repeats.get_mut(n).filter(|repeats| **repeats) {
            if last_ms.is_some_and(|last_ms| time_ms <= i64::from(last_ms)) {
                return Ok(());
            }
            *repeats = false;
        }
        let time_ms = u32::try_from(time_ms).unwrap_or(0).max(last_ms.unwrap_or(0));
        self.flv.tag(out, kind, time_ms, body, flags.contains(Flags::KEY));
        self.flv.has(kind);
        if !flags.contains(Flags::SEQUENCE_HEADER) {
            self.note_time(kind, time_ms);
        }
        Ok(())
    }

    /// Whether there is neither a picture nor a sound in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.last_ms, [None, None, _])
    }

    pub(crate) fn finish(&self) -> Patch {
        self.flv.finish()
    }

    pub(crate) fn length(&self) -> Length {
        Length { duration_ms: u64::from(self.flv.duration_ms()), bytes: self.flv.len() }
    }
}

/// The tag at a place; `None` when there is no whole one.
fn tag_at(file: &File, at: u64, total: u64) -> io::Result<Option<Tag>> {
    let mut head = [0; 11];
    if at + 15 > total {
        return Ok(None);
    }
    file.read_exact_at(&mut head, at)?;
    let [tag_type, s0, s1, s2, t0, t1, t2, t3, ..] = head;
    let size = u32::from_be_bytes([0, s0, s1, s2]);
    let Some(kind) = Kind::from_type_id(tag_type) else { return Ok(None) };
    if at + 15 + u64::from(size) > total {
        return Ok(None);
    }
    let mut body = vec![0; usize::try_from(size).unwrap_or(0).min(MAX_TAG_BYTES)];
    file.read_exact_at(&mut body, at + 11)?;
    Ok(Some(Tag { kind, timestamp_ms: u32::from_be_bytes([t3, t0, t1, t2]), body: body.into() }))
}

/// Numbers go in halves: the format has none of 64 bits.
fn part_of(origin: Origin) -> Value {
    let numbers = [origin.publish.born_ns, origin.publish.first_seq, origin.offset_ms.cast_unsigned()];
    let halves = numbers.into_iter().flat_map(|number| [number >> 32, number & 0xffff_ffff]);
    let halves = halves.map(|half| Value::Number(f64::from(u32::try_from(half).unwrap_or(0))));
    Value::StrictArray(halves.collect())
}

fn origin_of(part: &Value) -> Option<Origin> {
    let Value::StrictArray(halves) = part else { return None };
    let halves: Vec<u64> = halves.iter().map(|half| half.as_u32().map(u64::from)).collect::<Option<_>>()?;
    let [a, b, c, d, e, f] = *halves.first_chunk()?;
    let publish = Publish { born_ns: a << 32 | b, first_seq: c << 32 | d };
    Some(Origin { publish, offset_ms: (e << 32 | f).cast_signed() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn recorded(tags: u32) -> (FlvFile, Vec<u8>) {
        let (mut file, mut out) = FlvFile::begin(None, false, true);
        for n in 0..tags {
            let key = n % 25 == 0;
            let body: &[u8] = if key { b"\x17\x01\0\0\0key" } else { b"\x27\x01\0\0\0p" };
            file.tag(&mut out, Kind::Video, n * 40, body, key);
        }
        (file, out)
    }

    fn back(bytes: &[u8]) -> Option<FlvTail> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FlvTail::read_back(&file).unwrap()
    }

    #[test]
    fn a_file_that_was_left_behind_is_taken_up_where_it_is_whole() {
        let (file, out) = recorded(100);
        for cut in [0, 1, 10, 14, 15, 16, 500] {
            let tail = back(&out[..out.len() - cut]).unwrap();
            let (len, left) = (tail.length().bytes, (out.len() - cut) as u64);
            assert!(len <= left && len + 600 > left);
            if cut == 0 {
                assert_eq!(tail.finish(), file.finish());
            }
        }
        assert!(back(b"not a recording").is_none() && back(b"").is_none());
        assert!(back(&flv::file::header(true, true)).is_none());
        // Finished, and continued by somebody who died.
        let (_, more) = recorded(150);
        let mut finished = more;
        finished[..file.finish().bytes.len()].copy_from_slice(&file.finish().bytes);
        let tail = back(&finished).unwrap();
        assert_eq!((tail.length().duration_ms, tail.length().bytes), (5960, finished.len() as u64));
    }
}
