//! How files are named in lists: from the directory of the list, as URLs have it.

/// How the file `path` is called from the directory of the list `list` (paths below the same root), as a URL has it.
///
/// ```
/// assert_eq!(hls::uri::relative("live/lists/a.m3u8", "live/ts/a%2F.ts"), "../ts/a%252F.ts");
/// ```
#[must_use]
pub fn relative(list: &str, path: &str) -> String {
    let from: Vec<&str> = list.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let from = from.get(..from.len().saturating_sub(1)).unwrap_or(&[]);
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(to.len().saturating_sub(1));
    let up = std::iter::repeat_n("..".to_owned(), from.len() - same);
    let down = to.iter().skip(same).map(|part| http1::encode(part));
    up.chain(down).collect::<Vec<String>>().join("/")
}

/// The path that a URL in a list of `directory` means, as far as it leads down; the directory alone for one that leads up or
/// can't be read. What stands behind a question mark is no part of it.
#[must_use]
pub fn absolute(directory: &str, uri: &str) -> String {
    let written = format!("/{}", uri.split('?').next().unwrap_or(uri));
    let name =
        http1::Path::parse(&written).map_or_else(|_| String::new(), |path| path.components().join("/"));
    if directory.is_empty() { name } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_from_their_list() {
        assert_eq!(relative("live/a.m3u8", "live/a-1.ts"), "a-1.ts");
        assert_eq!(relative("live/a.m3u8", "live/a/x%2F/1.ts"), "a/x%252F/1.ts");
        assert_eq!(relative("live/lists/a.m3u8", "live/ts/1.ts"), "../ts/1.ts");
        assert_eq!(absolute("live", "a%2525-1.ts?x=1"), "live/a%25-1.ts");
        assert_eq!(absolute("", "../x"), "");
    }
}
