//! Files over HTTP as a player wants them: as HLS, and FLV from a place in it.

use std::io::Read;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use http1::Request;
use media::Kind;

use super::files::Found;
use super::vod::file_of;
use super::web::Web;

/// How long a list or a segment may take to be made, ms.
const PATIENCE_MS: u64 = 20_000;
/// Bytes at the beginning of a file that are looked through for decoder configurations.
const HEAD_BYTES: u64 = 1 << 20;

/// What became of a request for HLS of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vod {
    /// It is answered.
    Answered,
    /// It may be answered until then, ms.
    Later(u64),
    /// It is none.
    Other,
}

impl Web {
    /// Answers a request for the list or a segment of a file.
    pub(crate) fn vod_request(
        &mut self,
        key: usize,
        vhost: Option<&str>,
        request: &Request,
        until_ms: Option<u64>,
    ) -> Vod {
        let Some((name, number)) = request
            .path
            .components()
            .last()
            .and_then(|name| file_of(name))
            .filter(|_| self.config.http_server.vod)
        else {
            return Vod::Other;
        };
        let name = name.to_owned();
        let Some(path) = request.path.with_last(&name) else { return Vod::Other };
        let Ok(found) = self.mounts.open(vhost, &path) else { return Vod::Other };
        let Found { file, tag, .. } = found;
        let wanted = (tag, number);
        match self.vod.get(&wanted, file, &name) {
            Some(Some(bytes)) => {
                let response =
                    self.head(200).field("ETag", wanted.0.trim_end_matches('"').to_owned() + "-hls\"");
                let response = response.field("Cache-Control", "max-age=60");
                let mime = if number.is_some() { "video/MP2T" } else { http1::mime::of("x.m3u8") };
                self.reply(key, request.method, response.field("Content-Type", mime), bytes);
                Vod::Answered
            }
            Some(None) => {
                self.not_found(key, request.method);
                Vod::Answered
            }
            None => Vod::Later(until_ms.unwrap_or(self.now_ms + PATIENCE_MS)),
        }
    }

    /// An FLV file from a place in it: `start` is a number of bytes (where a tag begins), or of seconds when it has a decimal
    /// point. `None` when that is not asked, or not possible.
    pub(crate) fn flv_from(&self, request: &Request, found: &Found) -> Option<(Bytes, u64)> {
        let start = request.parameter("start").filter(|_| found.mime == "video/x-flv")?;
        let mut head = Vec::new();
        (&found.file).take(HEAD_BYTES).read_to_end(&mut head).ok()?;
        let begin = Beginning::read(&head)?;
        let at = if start.contains('.') {
            let seconds: f64 = start.parse().ok()?;
            begin.index.iter().rev().find(|(time, _)| *time <= seconds).map(|(_, at)| *at)?
        } else {
            start.parse().ok()?
        };
        let is_tag = || {
            let mut tag = [0; 4];
            let is_there = at >= 13 && at + 11 < found.len && found.file.read_exact_at(&mut tag, at).is_ok();
            let size = u64::from(u32::from_be_bytes([0, tag[1], tag[2], tag[3]]));
            let mut back = [0; 4];
            let end = at + 11 + size;
            let ends = end + 4 <= found.len && found.file.read_exact_at(&mut back, end).is_ok();
            is_there
                && matches!(tag[0], 8 | 9 | 18)
                && ends
                && u64::from(u32::from_be_bytes(back)) == size + 11
        };
        (at > 0 && is_tag()).then(|| (begin.bytes.into(), at))
    }
}

/// What stands in front of a part of an FLV file.
#[derive(Debug)]
struct Beginning {
    bytes: Vec<u8>,
    /// Key frames by time in seconds, where the file has an index.
    index: Vec<(f64, u64)>,
}

impl Beginning {
    fn read(head: &[u8]) -> Option<Self> {
        let mut reader = flv::file::Reader::new();
        reader.push(head);
        let mut begin = Self { bytes: head.get(..flv::file::HEADER_BYTES)?.to_vec(), index: Vec::new() };
        let (mut audio, mut video) = (false, false);
        while let Ok(Some(tag)) = reader.next_tag() {
            if tag.kind == Kind::Data && begin.index.is_empty() {
                begin.index = super::dvr::flv_file::index_of(&tag.body);
            }
            let is_first = match tag.kind {
                Kind::Audio => !std::mem::replace(&mut audio, true),
                Kind::Video => !std::mem::replace(&mut video, true),
                Kind::Data => false,
            };
            if is_first && flv::classify(tag.kind, &tag.body).sequence_header {
                flv::file::write_tag(&mut begin.bytes, tag.kind, 0, &tag.body);
            }
            if audio && video {
                break;
            }
        }
        Some(begin)
    }
}
