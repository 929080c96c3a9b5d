//! Lists as files and URLs: what a former process wrote, and how a segment is named from where its list is.

use hls::Ended;

/// Most segments that are taken over.
const MAX_SEGMENTS: usize = 20_000;

/// A list that was read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Old {
    pub(crate) first: u64,
    pub(crate) discontinuities: u64,
    pub(crate) target_s: u64,
    pub(crate) segments: Vec<Ended<()>>,
    /// It says that nothing follows.
    pub(crate) is_over: bool,
}

/// Reads a list; `None` when it is none.
pub(crate) fn read(text: &str) -> Option<Old> {
    let mut lines = text.lines();
    if lines.next()? != "#EXTM3U" {
        return None;
    }
    let mut old = Old { first: 0, discontinuities: 0, target_s: 0, segments: Vec::new(), is_over: false };
    let (mut duration_ms, mut is_break, mut began_ms) = (None, false, None);
    for line in lines.take(MAX_SEGMENTS * 4) {
        let number = |name: &str| line.strip_prefix(name).and_then(|value| value.parse::<u64>().ok());
        if let Some(value) = number("#EXT-X-MEDIA-SEQUENCE:") {
            old.first = value;
        } else if let Some(value) = number("#EXT-X-DISCONTINUITY-SEQUENCE:") {
            old.discontinuities = value;
        } else if let Some(value) = number("#EXT-X-TARGETDURATION:") {
            old.target_s = value;
        } else if line == "#EXT-X-ENDLIST" {
            old.is_over = true;
        } else if line == "#EXT-X-DISCONTINUITY" {
            is_break = true;
        } else if let Some(date) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            began_ms = date.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
        } else if let Some(value) = line.strip_prefix("#EXTINF:") {
            let seconds = value.split(',').next().and_then(|value| value.parse::<f64>().ok());
            duration_ms = seconds.filter(|seconds| (0.0..86_400.0).contains(seconds)).map(|seconds| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
                let ms = (seconds * 1000.0).round() as u64;
                ms
            });
        } else if !line.starts_with('#')
            && let Some(duration_ms) = duration_ms.take()
        {
            let uri = line.to_owned();
            let is_break = std::mem::take(&mut is_break);
            old.segments.push(Ended { duration_ms, is_break, began_ms: began_ms.take(), uri, place: () });
        }
    }
    Some(old)
}

/// How the file `path` is called from the directory of the list `list`, as a URL has it.
pub(crate) fn relative(list: &str, path: &str) -> String {
    let from: Vec<&str> = list.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let from = from.get(..from.len().saturating_sub(1)).unwrap_or(&[]);
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(to.len().saturating_sub(1));
    let up = std::iter::repeat_n("..".to_owned(), from.len() - same);
    let down = to.iter().skip(same).map(|part| encode(part));
    up.chain(down).collect::<Vec<String>>().join("/")
}

/// The reverse, as far as it leads down.
pub(crate) fn absolute(directory: &str, uri: &str) -> String {
    let name = decode(uri.split('?').next().unwrap_or(uri));
    if directory.is_empty() { name } else { format!("{directory}/{name}") }
}

/// A component as URLs have it.
pub(crate) fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode(text: &str) -> String {
    let path = http1::Path::parse(&format!("/{text}"));
    path.map_or_else(|_| String::new(), |path| path.components().join("/"))
}

#[cfg(test)]
mod tests {
    use hls::{Playlist, Position};

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut playlist = Playlist::new(6000, Position { next: 5, discontinuities: 1, target_s: 2 });
        for number in 5..8 {
            let uri = format!("a%2525-{number}.ts");
            let began_ms = (number == 5).then_some(1_700_000_000_123);
            playlist.push(Ended { duration_ms: 1999, is_break: number == 6, began_ms, uri, place: () });
        }
        assert!(!read(&playlist.text("", "")).unwrap().is_over);
        playlist.set_over(true);
        let old = read(&playlist.text("", "")).unwrap();
        assert!(old.is_over);
        assert_eq!((old.first, old.discontinuities, old.target_s), (5, 1, 2));
        let listed: Vec<_> = playlist.listed().map(|listed| listed.segment.clone()).collect();
        assert_eq!(old.segments, listed);
        assert_eq!(read("<html>"), None);
        assert_eq!(read("#EXTM3U\n#EXTINF:nan,\na\n#EXTINF:-1,\nb\n").unwrap().segments, []);
    }

    #[test]
    fn segments_are_named_from_their_list() {
        assert_eq!(relative("live/a.m3u8", "live/a-1.ts"), "a-1.ts");
        assert_eq!(relative("live/a.m3u8", "live/a/x%2F/1.ts"), "a/x%252F/1.ts");
        assert_eq!(relative("live/lists/a.m3u8", "live/ts/1.ts"), "../ts/1.ts");
        assert_eq!(absolute("live", "a%2525-1.ts?x=1"), "live/a%25-1.ts");
        assert_eq!(absolute("", "../x"), "");
    }
}
