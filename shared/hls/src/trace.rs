//! The reverse of [`template::fill`](crate::template::fill): which application and stream a file name is of.

use crate::template::{component, name_of};

/// Longest path that is looked at.
const MAX_PATH: usize = 1024;

/// Application and stream.
pub type Traced = (String, String);

/// What is found for the files of a stream.
#[must_use]
pub fn of_key(key: &media::StreamKey) -> Traced {
    of_names(&key.app, &key.stream)
}

fn of_names(app: &str, stream: &str) -> Traced {
    let written = |name: &str| name_of(&component(name));
    (app.split('/').map(written).collect::<Vec<String>>().join("/"), written(stream))
}

/// A template that was taken apart: its file names can be traced back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    App,
    Stream,
    Digits,
}

impl Trace {
    /// Takes a template apart; `None` when its names do not say application and stream.
    ///
    /// ```
    /// let trace = hls::Trace::new("[app]/[stream]-[seq].ts", "v").unwrap();
    /// assert_eq!(trace.find("live/a-1-27.ts"), Some(("live".to_owned(), "a-1".to_owned())));
    /// assert_eq!(trace.find("live/a.ts"), None);
    /// ```
    #[must_use]
    pub fn new(template: &str, vhost: &str) -> Option<Self> {
        let mut parts: Vec<Part> = Vec::new();
        let text = |parts: &mut Vec<Part>, more: &str| match parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => parts.push(Part::Text(more.to_owned())),
        };
        // As in URLs: no component is empty.
        let below: Vec<&str> = template.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let below = below.join("/");
        let mut rest = below.as_str();
        while let Some(at) = rest.find('[') {
            let (before, behind) = rest.split_at(at);
            text(&mut parts, before);
            let end = behind.find(']').map_or(1, |end| end + 1);
            let (variable, after) = behind.split_at_checked(end)?;
            let part = match variable {
                "[vhost]" => Part::Text(component(vhost)),
                "[app]" => Part::App,
                "[stream]" => Part::Stream,
                "[seq]" | "[duration]" | "[timestamp]" | "[2006]" | "[01]" | "[02]" | "[15]" | "[04]"
                | "[05]" | "[999]" => Part::Digits,
                // No variable: the bracket is a bracket.
                _ => {
                    text(&mut parts, "[");
                    rest = behind.get(1..).unwrap_or("");
                    continue;
                }
            };
            match part {
                Part::Text(more) => text(&mut parts, &more),
                part => parts.push(part),
            }
            rest = after;
        }
        text(&mut parts, rest);
        (parts.contains(&Part::App) && parts.contains(&Part::Stream)).then_some(Self(parts))
    }

    /// Application and stream of a path, if it has this form. Where several are possible, it is the one with the longest
    /// names.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Traced> {
        self.parts(path).map(|(app, stream)| (name_of(app), name_of(stream)))
    }

    /// The same for a path that has the names as they are.
    ///
    /// ```
    /// let trace = hls::Trace::new("[app]/[stream].m3u8", "v").unwrap();
    /// assert_eq!(trace.find("live/50%25.m3u8"), Some(("live".to_owned(), "50%".to_owned())));
    /// assert_eq!(trace.find_plain("live/50%25.m3u8"), Some(("live".to_owned(), "50%25".to_owned())));
    /// ```
    #[must_use]
    pub fn find_plain(&self, path: &str) -> Option<Traced> {
        self.parts(path).map(|(app, stream)| of_names(app, stream))
    }

    fn parts<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        if path.len() > MAX_PATH {
            return None;
        }
        let (app, stream) = find(&self.0, path, (None, None))?;
        Some((app?, stream?))
    }
}

type Found<'p> = (Option<&'p str>, Option<&'p str>);

fn find<'p>(parts: &[Part], path: &'p str, found: Found<'p>) -> Option<Found<'p>> {
    let Some((part, rest)) = parts.split_first() else { return path.is_empty().then_some(found) };
    let known = match part {
        Part::Text(text) => return find(rest, path.strip_prefix(text.as_str())?, found),
        Part::App => found.0,
        Part::Stream => found.1,
        Part::Digits => None,
    };
    if let Some(known) = known {
        return find(rest, path.strip_prefix(known)?, found);
    }
    let fits = |c: char| match part {
        Part::Digits => c.is_ascii_digit(),
        Part::App => true,
        Part::Stream | Part::Text(_) => c != '/',
    };
    let longest = path.find(|c| !fits(c)).unwrap_or(path.len());
    let mut ends: Vec<usize> =
        path.char_indices().map(|(at, _)| at).filter(|at| (1..longest).contains(at)).collect();
    ends.push(longest);
    ends.into_iter().rev().filter(|end| *end > 0).find_map(|end| {
        let (taken, after) = path.split_at_checked(end)?;
        let found = match part {
            Part::App => (Some(taken), found.1),
            Part::Stream => (found.0, Some(taken)),
            Part::Digits | Part::Text(_) => found,
        };
        find(rest, after, found)
    })
}

#[cfg(test)]
mod tests {
    use media::StreamKey;

    use super::*;
    use crate::template::{Moment, Names, fill};

    #[test]
    fn every_name_is_traced_back_to_its_stream() {
        let templates = [
            "[app]/[stream].m3u8",
            "[app]/[stream]-[seq].ts",
            "./[vhost]/[app]//[stream]/[2006]/[01]/[02]/[15]-[04]-[05]-[999].[timestamp].[seq].[duration].ts",
            "[stream]@[app]/[stream]_[seq].ts",
            "x[y]/[app]/[stream][.ts",
        ];
        for template in templates {
            let trace = Trace::new(template, "v.example").unwrap();
            for (app, stream) in
                [("live", "a"), ("a/b", "cam-1-2"), ("x", "é/[seq]"), ("1", "2"), ("..", ".")]
            {
                let key = StreamKey { vhost: "v.example".into(), app: app.into(), stream: stream.into() };
                for number in [0, 7, 1234] {
                    let names = Names { key: &key, number, duration_ms: 2000, moment: Moment::default() };
                    let path = fill(template, &names);
                    let path =
                        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>();
                    assert_eq!(trace.find(&path.join("/")), Some(of_key(&key)), "{template} {key} {number}");
                }
            }
        }
    }

    #[test]
    fn names_that_do_not_say_their_stream_can_not_be_traced() {
        for template in ["[stream].m3u8", "[app].m3u8", "list.m3u8", "[app]/[seq].ts", ""] {
            assert_eq!(Trace::new(template, "v"), None, "{template}");
        }
        let trace = Trace::new("[app]/[stream]-[seq].ts", "v").unwrap();
        for path in ["", "/", "live/a-.ts", "live/a-1.mp4", "a-1.ts", "live/-1.ts", &"a/".repeat(5000)] {
            assert_eq!(trace.find(path), None, "{path}");
        }
        // Never slow, whatever a stranger asks for.
        let path = format!("{}-1.tx", "a-1/".repeat(250));
        assert_eq!(trace.find(&path), None);
    }
}
