//! Files over HTTP as a player wants them: as HLS, and FLV from a place in it.

use http1::Request;

use super::answer::{Answer, Heads};
use super::files::Found;
use crate::outputs::vod::{Made, What};

/// The answer with what was made of a file, which may be that nothing can be made.
pub(crate) fn answer(heads: &Heads, request: &Request, found: Found, what: &What, made: Made) -> Answer {
    let mime = match what {
        What::FromByte(_) | What::FromTime(_) => {
            let part = made.and_then(|bytes| {
                let at = u64::from_be_bytes(*bytes.first_chunk()?);
                Some((bytes.slice(8..), at)).filter(|(_, at)| *at < found.len)
            });
            return match part {
                Some(part) => heads.flv_part(found, part),
                // Nothing begins there: the whole file, as without a place.
                None => heads.file(request, found),
            };
        }
        What::List(_) => http1::mime::of("x.m3u8"),
        What::Segment(_) => "video/MP2T",
    };
    let Some(bytes) = made else { return heads.not_found() };
    Answer::whole(heads.head(200).field("Content-Type", mime).field("Cache-Control", "max-age=60"), bytes)
}
