//! File names with variables: `[app]/[stream]-[seq].ts`, `/data/[app]/[2006]-[01]-[02]/[stream].[timestamp].flv`.

use media::StreamKey;

/// A moment as people write it, in the time zone that files are named in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// ms since 1970.
    pub unix_ms: i64,
    /// Year.
    pub year: i16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// 0 to 999.
    pub millisecond: u16,
}

/// What stands for the variables.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// `[vhost]`, `[app]`, `[stream]`.
    pub key: &'a StreamKey,
    /// `[seq]`.
    pub number: u64,
    /// `[duration]`, ms.
    pub duration_ms: u64,
    /// `[timestamp]` and the parts of a date.
    pub moment: Moment,
}

/// Fills in the variables. What is in brackets and no variable stays as it is.
///
/// What stands for a name is one component of a path, or several of an application's: a component that could mean another
/// directory becomes a harmless one, so that two names never become the same file.
#[must_use]
pub fn fill(template: &str, names: &Names<'_>) -> String {
    fill_with(template, names, component)
}

/// As [`fill`], with the names as they are: what somebody asks for who knows them.
#[must_use]
pub fn fill_plain(template: &str, names: &Names<'_>) -> String {
    fill_with(template, names, str::to_owned)
}

fn fill_with(template: &str, names: &Names<'_>, write: fn(&str) -> String) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('[') {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let value = behind.find(']').and_then(|end| {
            let (variable, after) = behind.split_at_checked(end + 1)?;
            Some((value(variable, names, write)?, after))
        });
        match value {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('[');
                rest = behind.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    out
}

fn value(variable: &str, names: &Names<'_>, write: fn(&str) -> String) -> Option<String> {
    let Names { key, moment, .. } = names;
    Some(match variable {
        "[vhost]" => write(&key.vhost),
        "[app]" => key.app.split('/').map(write).collect::<Vec<String>>().join("/"),
        "[stream]" => write(&key.stream),
        "[seq]" => names.number.to_string(),
        "[duration]" => names.duration_ms.to_string(),
        "[timestamp]" => moment.unix_ms.to_string(),
        "[2006]" => format!("{:04}", moment.year),
        "[01]" => format!("{:02}", moment.month),
        "[02]" => format!("{:02}", moment.day),
        "[15]" => format!("{:02}", moment.hour),
        "[04]" => format!("{:02}", moment.minute),
        "[05]" => format!("{:02}", moment.second),
        "[999]" => format!("{:03}", moment.millisecond),
        _ => return None,
    })
}

/// Longest component in bytes: numbers and endings stand behind it, and file systems take 255.
const MAX_COMPONENT: usize = 200;
/// What stays of a longer one.
const KEPT: usize = 160;

/// Whether a character can stand in a component wherever one is used: in a file system, and in the paths of URLs as this server
/// takes them. The percent sign is what others are written with.
fn is_plain(c: char) -> bool {
    !(c.is_control() || matches!(c, '%' | '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// A name as a component of a path: as it is, but for what can't stand there (see [`is_plain`], and a dot at the beginning),
/// which becomes `%` and two digits for each byte. Of one that is too long the beginning stays, with `%` and sixteen digits
/// that depend on all of it. No two names give the same.
#[must_use]
pub fn component(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        if is_plain(c) && !(c == '.' && at == 0) {
            out.push(c);
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
    }
    if out.is_empty() {
        return "%".to_owned();
    }
    if out.len() <= MAX_COMPONENT {
        return out;
    }
    let whole = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    while out.len() > KEPT {
        out.pop();
    }
    out + &format!("%{whole:016x}")
}

/// The reverse of what [`component`] does to single characters.
pub(crate) fn name_of(component: &str) -> String {
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let escaped =
            escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or(&[]);
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| component.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, app: &str, stream: &str) -> String {
        let key = StreamKey { vhost: "v.example".into(), app: app.into(), stream: stream.into() };
        let moment = Moment {
            unix_ms: 1234,
            year: 2026,
            month: 3,
            day: 9,
            hour: 7,
            minute: 5,
            second: 1,
            millisecond: 42,
        };
        fill(template, &Names { key: &key, number: 12, duration_ms: 2000, moment })
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(filled("[app]/[stream]-[seq].ts", "live", "a"), "live/a-12.ts");
        assert_eq!(
            filled("/d/[vhost]/[2006]-[01]-[02]T[15].[04].[05].[999]_[timestamp]", "live", "a"),
            "/d/v.example/2026-03-09T07.05.01.042_1234"
        );
        assert_eq!(filled("[what]/[[stream]/[stream", "live", "a"), "[what]/[a/[stream");
    }

    #[test]
    fn names_are_what_they_are() {
        for name in ["a b", "客厅", "a#1+2@x[3]*~?", "ü.flv"] {
            assert_eq!(filled("[stream]-[seq].ts", "live", name), format!("{name}-12.ts"));
        }
        let long = "客".repeat(85);
        let (one, other) = (component(&format!("{long}1")), component(&format!("{long}2")));
        assert!(one.len() <= MAX_COMPONENT && one != other && one.starts_with("客客客"), "{one}");
        for name in ["a%b", "a/b", "%41", ".x", "a\nb"] {
            assert_eq!(name_of(&component(name)), name);
        }
        assert_eq!(name_of("100%"), "100%");
    }

    #[test]
    fn names_stay_below_their_directory_and_apart() {
        assert_eq!(filled("[app]/[stream]", "../../etc", "passwd"), "%2E./%2E./etc/passwd");
        assert_eq!(filled("[app]/[stream]", "/abs//x", ".."), "%/abs/%/x/%2E.");
        assert_eq!(filled("[stream]", "live", "a/b\n$(id)\\"), "a%2Fb%0A$(id)%5C");
        assert_ne!(filled("[stream]", "live", "a%2Fb"), filled("[stream]", "live", "a/b"));
        // Only once: a name that looks like a variable is none.
        assert_eq!(filled("[stream]", "live", "[seq]"), "[seq]");
    }
}
