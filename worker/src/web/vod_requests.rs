//! Files over HTTP as a player wants them: as HLS, and FLV from a place in it.

use http1::Request;

use super::files::Missing;
use super::hls_requests::named_vhost;
use super::server::Web;
use crate::outputs::vod::{What, file_of};

/// What became of a request for something that is made of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vod {
    /// It is answered.
    Answered,
    /// It will be answered when something is read.
    Later,
    /// It is none.
    Other,
}

/// Which file a request means, and what of it.
fn wanted(request: &Request, hls: bool) -> Option<(String, What)> {
    let last = request.path.components().last()?;
    if let Some((name, what)) = file_of(last).filter(|_| hls) {
        let what = match (what, named_vhost(request)) {
            (What::List(_), Some(vhost)) => What::List(format!("?vhost={vhost}")),
            (what, _) => what,
        };
        return Some((name.to_owned(), what));
    }
    // A number of bytes, or of seconds when it has a decimal point.
    let start = request.parameter("start").filter(|_| last.to_ascii_lowercase().ends_with(".flv"))?;
    let what = if start.contains('.') {
        let seconds: f64 = start.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let ms = (seconds.clamp(0.0, 4_000_000.0) * 1000.0) as u32;
        What::FromTime(ms)
    } else {
        What::FromByte(start.parse().ok().filter(|at| *at > 0)?)
    };
    Some((last.clone(), what))
}

impl Web {
    /// Answers a request for the list or a segment of a file, or for an FLV file from a place in it.
    pub(crate) fn vod_request(&mut self, key: usize, vhost: Option<&str>, request: &Request) -> Vod {
        let Some((name, what)) = wanted(request, self.config.http_server.vod) else { return Vod::Other };
        let Some(path) = request.path.with_last(&name) else { return Vod::Other };
        let file = self.mounts.wanted(vhost, &path, false);
        let found = match file.map(|file| self.open_file(key, file)) {
            Some(Ok(found)) => found,
            Some(Err(Missing::Later)) => return Vod::Later,
            Some(Err(_)) | None => return Vod::Other,
        };
        let wanted = (found.tag.clone(), what);
        let Ok(file) = found.file.try_clone() else { return Vod::Other };
        let Some(made) = self.vod.get(&wanted, file, &name) else {
            return Vod::Later;
        };
        let mime = match (&wanted.1, made) {
            (What::FromByte(_) | What::FromTime(_), made) => {
                let part = made.and_then(|bytes| {
                    let at = u64::from_be_bytes(*bytes.first_chunk()?);
                    Some((bytes.slice(8..), at)).filter(|(_, at)| *at < found.len)
                });
                match part {
                    Some(part) => self.send_flv_part(key, request, found, part),
                    // Nothing begins there: the whole file, as without a place.
                    None => self.send_file(key, request, found),
                }
                return Vod::Answered;
            }
            (_, None) => {
                self.not_found(key, request.method);
                return Vod::Answered;
            }
            (What::List(_), Some(bytes)) => (http1::mime::of("x.m3u8"), bytes),
            (What::Segment(_), Some(bytes)) => ("video/MP2T", bytes),
        };
        let (mime, bytes) = mime;
        let response = self.head(200).field("Content-Type", mime).field("Cache-Control", "max-age=60");
        self.reply(key, request.method, response, bytes);
        Vod::Answered
    }
}
