//! HLS over HTTP: lists with the players' identities.

use std::net::IpAddr;

use bytes::Bytes;
use conf::vhost::Vhost;
use hls::Member;
use http1::Request;

use super::answer::{Answer, Heads};
use super::files::gzip;
use super::routes::named_vhost;
use crate::outputs::hls::HlsStreams;
use crate::outputs::hls::sessions::{Session, is_name, new_name};
use crate::outputs::hls::stream::HlsStream;

/// The parameter by which players are known.
pub(crate) const PARAMETER: &str = "hls_ctx";
/// How long a first segment is waited for beyond its length, ms.
const PATIENCE_MS: u64 = 5_000;
/// Lists that are longer are compressed, bytes.
const SMALL_LIST: usize = 512;

/// Until when (ms) the first segment of a list is waited for; `waited_until_ms` is what was said before.
pub(crate) fn first_segment_ms(stream: &HlsStream, now_ms: u64, waited_until_ms: Option<u64>) -> u64 {
    let first_ms = 2 * stream.naming.config.fragment_ms + PATIENCE_MS;
    // Counted from when it was asked first, or from when its stream began.
    let began_ms = stream.began_ms.max(waited_until_ms.map_or(now_ms, |_| 0));
    (began_ms + first_ms).max(waited_until_ms.unwrap_or(0))
}

/// The text of a stream's list, or of that of one of its members, for a player of this name.
pub(crate) fn list(
    stream: &HlsStream,
    member: Option<Member>,
    vhost: &Vhost,
    request: &Request,
    name: Option<&str>,
) -> String {
    let of_member = member.unwrap_or(Member::Main);
    let vhost_of =
        |first| named_vhost(request).map(|name| format!("{first}vhost={name}")).unwrap_or_default();
    match name {
        None if member.is_none() && vhost.hls.ctx => master(stream, request, &new_name()),
        None if member.is_none() && stream.is_several() => stream.multivariant(&vhost_of('?')),
        Some(name) if vhost.hls.ctx && vhost.hls.ts_ctx && is_name(name) => {
            stream.text_of(of_member, &format!("?{PARAMETER}={name}{}", vhost_of('&')))
        }
        _ => stream.text_of(of_member, &vhost_of('?')),
    }
}

/// The answer with a list. One that is the same for all may be kept by whoever stands between, for half of what it takes to change.
pub(crate) fn list_answer(
    heads: &Heads,
    request: &Request,
    text: &str,
    vhost: &Vhost,
    fragment_ms: u64,
) -> Answer {
    let kept_s = if vhost.hls.ctx { 0 } else { (fragment_ms / 2000).max(1) };
    let kept = if kept_s == 0 { "no-cache".to_owned() } else { format!("max-age={kept_s}") };
    let head = heads.head(200).field("Content-Type", http1::mime::of("x.m3u8"));
    let head = head.field("Cache-Control", kept).field("Vary", "Accept-Encoding");
    if request.accepts_gzip && text.len() > SMALL_LIST {
        return Answer::whole(head.field("Content-Encoding", "gzip"), gzip(text.as_bytes()));
    }
    Answer::whole(head, Bytes::copy_from_slice(text.as_bytes()))
}

/// A player asks for so many bytes of a stream, from this address. One that is new gets a number.
pub(crate) fn note_player(
    hls: &mut HlsStreams,
    feed: usize,
    request: &Request,
    (name, ip, bytes): (&str, IpAddr, u64),
    now_ms: u64,
    take_id: impl FnOnce() -> u64,
) {
    let id = if hls.sessions.knows(name) { 0 } else { take_id() };
    let Some(stream) = hls.streams.get(&feed) else { return };
    hls.sessions.seen(name, now_ms, || Session {
        id,
        key: stream.naming.key.clone(),
        ip,
        since_ms: now_ms,
        seen_ms: now_ms,
        bytes: 0,
        page_url: request.referer.as_deref().map(rtmp::url::mask_query),
    });
    hls.sessions.sent(name, bytes);
}

/// A list of the list, which is the same again, or of all lists, with an identity for the player.
fn master(stream: &HlsStream, request: &Request, name: &str) -> String {
    let own = request.path.components().last().map_or_else(String::new, |name| http1::encode(name));
    let rate = stream.bits_per_second();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\');
    let rest = if request.query.is_empty() || !request.query.chars().all(is_plain) {
        String::new()
    } else {
        format!("&{}", request.query)
    };
    if stream.has_choice() {
        return stream.multivariant(&format!("?{PARAMETER}={name}{rest}"));
    }
    format!(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={rate},AVERAGE-BANDWIDTH={rate}\n{own}?{PARAMETER}={name}{rest}\n"
    )
}
