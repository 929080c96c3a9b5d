//! Lists of segments as files: what a former process wrote is read back.

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
}
