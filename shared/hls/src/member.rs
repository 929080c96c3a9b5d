//! Streams of several tracks: each further track has a list of its own, and a list of lists names them (RFC 8216, 4.3.4).

use std::fmt;
use std::fmt::Write as _;

use media::Kind;

/// What stands in front of the name of a member in the names of its files. Names of streams are written without it
/// ([`crate::template::fill`]: it would be followed by digits), so that no other stream has files of these names.
const MARK: char = '%';

/// One of the lists of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The first pictures and sounds.
    Main,
    /// Other pictures, with the first sounds.
    Video(u8),
    /// Other sounds.
    Audio(u8),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Video(track) => write!(f, "video{track}"),
            Self::Audio(track) => write!(f, "audio{track}"),
        }
    }
}

impl Member {
    /// The member that has the further track of this number.
    #[must_use]
    pub const fn of(kind: Kind, track: u8) -> Self {
        match kind {
            Kind::Video => Self::Video(track),
            _ => Self::Audio(track),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let number = |name: &str| name.parse::<u8>().ok().filter(|number| number.to_string() == name);
        match name {
            "main" => Some(Self::Main),
            _ => match name.strip_prefix("video") {
                Some(rest) => number(rest).map(Self::Video),
                None => number(name.strip_prefix("audio")?).map(Self::Audio),
            },
        }
    }

    /// The name of this member's file where that of the stream has the given name; templates of names are taken as well.
    ///
    /// ```
    /// # use hls::Member;
    /// assert_eq!(Member::Audio(1).mark("[app]/[stream]-[seq].ts"), "[app]/[stream]-[seq]%audio1.ts");
    /// ```
    #[must_use]
    pub fn mark(self, path: &str) -> String {
        let name_at = path.rfind('/').map_or(0, |at| at + 1);
        let dot = path.rfind('.').filter(|at| *at >= name_at).unwrap_or(path.len());
        let (before, ending) = path.split_at(dot);
        format!("{before}{MARK}{self}{ending}")
    }

    /// Whose file this is, and the name without the mark; `None` where there is none.
    ///
    /// ```
    /// # use hls::Member;
    /// assert_eq!(Member::unmark("live/a-7%video2.ts"), Some((Member::Video(2), "live/a-7.ts".to_owned())));
    /// assert_eq!(Member::unmark("live/100%25.ts"), None);
    /// ```
    #[must_use]
    pub fn unmark(path: &str) -> Option<(Self, String)> {
        let at = path.rfind(MARK)?;
        let (before, behind) = path.split_at(at);
        let name = behind.strip_prefix(MARK)?;
        let (name, ending) = name.split_at(name.find('.').unwrap_or(name.len()));
        Some((Self::named(name)?, format!("{before}{ending}")))
    }
}

/// Sounds that players choose among.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Where its list is; `None`: it is in each variant.
    pub uri: Option<String>,
    /// Number of the track.
    pub track: u8,
    /// How many; 0 where nobody knows.
    pub channels: u16,
}

/// Pictures and sounds that players choose among.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Where its list is.
    pub uri: String,
    /// What players are promised it needs at most, bits per second.
    pub bandwidth: u64,
    /// Pixels.
    pub size: Option<(u32, u32)>,
    /// What it is coded with, its renditions included, as RFC 6381 has it.
    pub codecs: Option<String>,
}

/// What a list of lists says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// The first is played unless somebody chooses otherwise.
    pub renditions: Vec<Rendition>,
    /// In the order in which players try them.
    pub variants: Vec<Variant>,
}

impl Choices {
    /// The same with something behind each name.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let mut same = self.clone();
        let of_renditions = same.renditions.iter_mut().filter_map(|rendition| rendition.uri.as_mut());
        let uris = of_renditions.chain(same.variants.iter_mut().map(|variant| &mut variant.uri));
        uris.for_each(|uri| uri.push_str(suffix));
        same
    }

    /// The text of the list.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = "#EXTM3U\n#EXT-X-VERSION:4\n".to_owned();
        for (at, Rendition { uri, track, channels }) in self.renditions.iter().enumerate() {
            let is_default = if at == 0 { "YES" } else { "NO" };
            let _ = write!(
                out,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{}\",DEFAULT={is_default},AUTOSELECT={is_default}",
                u16::from(*track) + 1
            );
            if *channels > 0 {
                let _ = write!(out, ",CHANNELS=\"{channels}\"");
            }
            if let Some(uri) = uri {
                let _ = write!(out, ",URI=\"{uri}\"");
            }
            out.push('\n');
        }
        for Variant { uri, bandwidth, size, codecs } in &self.variants {
            let _ = write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}");
            if let Some((width, height)) = size {
                let _ = write!(out, ",RESOLUTION={width}x{height}");
            }
            if let Some(codecs) = codecs {
                let _ = write!(out, ",CODECS=\"{codecs}\"");
            }
            if !self.renditions.is_empty() {
                out.push_str(",AUDIO=\"audio\"");
            }
            let _ = write!(out, "\n{uri}\n");
        }
        out
    }

    /// Reads a list of lists that was written here; what is none has no choices.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut all = Self::default();
        let mut stream: Option<Vec<(&str, &str)>> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("#EXT-X-MEDIA:") {
                all.renditions.extend(rendition(&attributes(rest)));
            } else if let Some(rest) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                stream = Some(attributes(rest));
            } else if !line.starts_with('#')
                && let Some(attributes) = stream.take()
            {
                all.variants.extend(variant(&attributes, line));
            }
        }
        all
    }
}

/// The attributes of a tag (RFC 8216, 4.2), quotes taken off.
fn attributes(text: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((value, next)) => (value, next.strip_prefix(',').unwrap_or(next)),
                None => break,
            },
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        all.push((name, value));
        rest = next;
    }
    all
}

fn value<'t>(attributes: &[(&'t str, &'t str)], name: &str) -> Option<&'t str> {
    attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn rendition(attributes: &[(&str, &str)]) -> Option<Rendition> {
    let track = value(attributes, "NAME")?.parse::<u16>().ok()?.checked_sub(1)?;
    let channels = value(attributes, "CHANNELS").and_then(|count| count.parse().ok()).unwrap_or(0);
    let uri = value(attributes, "URI").map(str::to_owned);
    Some(Rendition { uri, track: u8::try_from(track).ok()?, channels })
}

fn variant(attributes: &[(&str, &str)], uri: &str) -> Option<Variant> {
    let size = value(attributes, "RESOLUTION").and_then(|size| size.split_once('x'));
    let size = size.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let codecs = value(attributes, "CODECS").map(str::to_owned);
    let bandwidth = value(attributes, "BANDWIDTH")?.parse().ok()?;
    Some(Variant { uri: uri.to_owned(), bandwidth, size, codecs })
}

/// The lists that a list of lists names, in its order; none where the text is no such list.
pub fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_several = text.lines().any(|line| line.starts_with("#EXT-X-STREAM-INF:"));
    text.lines().filter(move |_| is_several).filter_map(|line| match line.strip_prefix("#EXT-X-MEDIA:") {
        Some(attributes) => attributes.split_once("URI=\"")?.1.split('"').next(),
        None => Some(line).filter(|line| !line.is_empty() && !line.starts_with('#')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_are_told_from_all_others() {
        for member in [Member::Main, Member::Video(1), Member::Audio(7)] {
            for path in ["live/a.m3u8", "live/a.b-12.ts", "a", "x.y/a", "live/100%25-1.ts"] {
                assert_eq!(Member::unmark(&member.mark(path)), Some((member, path.to_owned())), "{path}");
            }
        }
        for other in ["live/a.m3u8", "live/a%25audio.m3u8", "a%audio.ts", "a%audio01.ts", "a%audio1x.ts", "%"]
        {
            assert_eq!(Member::unmark(other), None, "{other}");
        }
        // A stream that is called so has files of other names.
        assert_eq!(crate::template::component("a%audio1"), "a%25audio1");
    }

    #[test]
    fn a_list_of_lists_names_them() {
        let renditions = [
            Rendition { uri: None, track: 0, channels: 2 },
            Rendition { uri: Some("a%25audio1.m3u8?x=1".to_owned()), track: 1, channels: 0 },
        ];
        let variant = |uri: &str, size, codecs: Option<&str>| Variant {
            uri: uri.to_owned(),
            bandwidth: 1000,
            size,
            codecs: codecs.map(str::to_owned),
        };
        let variants = [
            variant("a%25main.m3u8", Some((320, 180)), Some("avc1.64001f,mp4a.40.2")),
            variant("a%25video1.m3u8", None, None),
        ];
        let choices = Choices { renditions: renditions.into(), variants: variants.into() };
        let text = choices.text();
        assert_eq!(Choices::read(&text), choices);
        assert_eq!(Choices::read(&choices.with_suffix("?y").text()), choices.with_suffix("?y"));
        for other in
            ["", "#EXTM3U\n#EXTINF:2,\na-1.ts\n", "#EXT-X-STREAM-INF:CODECS=\"a\na\n#EXT-X-MEDIA:=,=\"\""]
        {
            assert_eq!(Choices::read(other), Choices::default());
        }
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:4\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"1\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"2\",DEFAULT=NO,AUTOSELECT=NO,URI=\"a%25audio1.m3u8?x=1\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1000,RESOLUTION=320x180,CODECS=\"avc1.64001f,mp4a.40.2\",AUDIO=\"audio\"\n\
             a%25main.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO=\"audio\"\na%25video1.m3u8\n"
        );
        let found: Vec<&str> = named(&text).collect();
        assert_eq!(found, ["a%25audio1.m3u8?x=1", "a%25main.m3u8", "a%25video1.m3u8"]);
        assert_eq!(named("#EXTM3U\n#EXTINF:2,\na-1.ts\n").count(), 0);
    }
}
