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
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('[') {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let value = behind.find(']').and_then(|end| {
            let (variable, after) = behind.split_at_checked(end + 1)?;
            Some((value(variable, names)?, after))
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

fn value(variable: &str, names: &Names<'_>) -> Option<String> {
    let Names { key, moment, .. } = names;
    Some(match variable {
        "[vhost]" => component(&key.vhost),
        "[app]" => application(&key.app),
        "[stream]" => component(&key.stream),
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

/// An application as it stands in file names.
pub(crate) fn application(app: &str) -> String {
    app.split('/').map(component).collect::<Vec<String>>().join("/")
}

/// Letters, digits, `.`, `-` and `_` stay (a dot not at the beginning); everything else becomes `%` and two digits, which no
/// other name gives.
pub(crate) fn component(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte == b'.' && at > 0;
        if is_plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    if out.is_empty() { "%".to_owned() } else { out }
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
    fn names_stay_below_their_directory_and_apart() {
        assert_eq!(filled("[app]/[stream]", "../../etc", "passwd"), "%2E./%2E./etc/passwd");
        assert_eq!(filled("[app]/[stream]", "/abs//x", ".."), "%/abs/%/x/%2E.");
        assert_eq!(filled("[stream]", "live", "a/b\n$(id)"), "a%2Fb%0A%24%28id%29");
        assert_ne!(filled("[stream]", "live", "a%2Fb"), filled("[stream]", "live", "a/b"));
        // Only once: a name that looks like a variable is none.
        assert_eq!(filled("[stream]", "live", "[seq]"), "%5Bseq%5D");
    }
}
