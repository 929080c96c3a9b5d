//! Pictures of live streams over HTTP: the answer with one, or with why there is none.

use bytes::Bytes;

use super::answer::{Answer, Heads};
use crate::outputs::pictures::{Made, NoPicture};

const NO_PROGRAM: &[u8] =
    b"There is no ffmpeg here that makes pictures: http_remux { snapshot_ffmpeg PATH; }\n";
const FAILED: &[u8] = b"No picture could be made of this stream\n";
const TOO_MANY: &[u8] = b"Too many pictures are being made\n";
const NO_PICTURES: &[u8] = b"This stream has no pictures\n";

/// The answer with what was made of a key frame.
pub(crate) fn answer(heads: &Heads, made: Made) -> Answer {
    let (status, mime, bytes) = match made {
        Ok(picture) => (200, "image/jpeg", picture),
        Err(NoPicture::NoProgram) => (501, "text/plain;charset=utf-8", Bytes::from_static(NO_PROGRAM)),
        Err(NoPicture::Failed) => (503, "text/plain;charset=utf-8", Bytes::from_static(FAILED)),
        Err(NoPicture::TooMany) => (503, "text/plain;charset=utf-8", Bytes::from_static(TOO_MANY)),
        Err(NoPicture::NoPictures) => (404, "text/plain;charset=utf-8", Bytes::from_static(NO_PICTURES)),
    };
    let head = heads.head(status).field("Content-Type", mime);
    Answer::whole(head.field("Cache-Control", "no-cache, no-store"), bytes)
}
