//! Which stream a path means: `/app/stream.flv`, or as the vhost's mount has it.

/// Application, stream and ending of a path. The application may have several components.
pub(crate) fn stream_of(mount: &str, components: &[String]) -> Option<(String, String, String)> {
    by_mount(mount, components).or_else(|| by_mount("[app]/[stream]", components))
}

fn by_mount(mount: &str, components: &[String]) -> Option<(String, String, String)> {
    let (last, above) = components.split_last()?;
    let (name, ending) = last.rsplit_once('.')?;
    let parts: Vec<&str> = mount.split('/').filter(|part| !part.is_empty() && *part != "[vhost]").collect();
    let (pattern, directories) = parts.split_last()?;
    let pattern = pattern.rsplit_once('.').map_or(*pattern, |(stem, _)| stem);
    let stream = variable(pattern, "[stream]", name)?;
    let app = match directories.iter().position(|part| part.contains("[app]")) {
        Some(at) => {
            let behind = directories.len() - at - 1;
            let end = above.len().checked_sub(behind)?;
            let inner = above.get(at..end).filter(|inner| !inner.is_empty())?;
            let fixed = directories.iter().take(at).eq(above.iter().take(at));
            let rest = directories.iter().skip(at + 1).eq(above.iter().skip(end));
            let app = variable(directories.get(at)?, "[app]", &inner.join("/"))?;
            (fixed && rest).then_some(app)?
        }
        None => return None,
    };
    Some((app, stream, ending.to_ascii_lowercase()))
}

/// What stands for the variable of a pattern.
fn variable(pattern: &str, name: &str, text: &str) -> Option<String> {
    let (before, behind) = pattern.split_once(name)?;
    let inner = text.strip_prefix(before)?.strip_suffix(behind)?;
    (!inner.is_empty()).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(mount: &str, path: &str) -> Option<(String, String, String)> {
        let components: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        stream_of(mount, &components)
    }

    #[test]
    fn paths_and_mounts() {
        let is =
            |app: &str, name: &str, ending: &str| Some((app.to_owned(), name.to_owned(), ending.to_owned()));
        let usual = "[vhost]/[app]/[stream].flv";
        assert_eq!(stream(usual, "/live/a.flv"), is("live", "a", "flv"));
        assert_eq!(stream(usual, "/live/b/a.b.TS"), is("live/b", "a.b", "ts"));
        assert_eq!(stream(usual, "/a.flv"), None);
        assert_eq!(stream(usual, "/live/a"), None);
        assert_eq!(stream(usual, "/live/.flv"), None);
        let own = "/watch/[app]/x-[stream].ts";
        assert_eq!(stream(own, "/watch/live/x-a.ts"), is("live", "a", "ts"));
        // What the mount does not fit is read the usual way.
        assert_eq!(stream(own, "/watch/live/a.ts"), is("watch/live", "a", "ts"));
    }
}
