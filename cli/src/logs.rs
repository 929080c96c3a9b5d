//! The server's log: its last lines, and those that come. A file that was renamed is followed to the new one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::output;

/// How often it is looked for new lines.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much of the end of a file is looked through for its last lines.
const MOST_BYTES: u64 = 16 << 20;

/// Whether a line is one of this connection: `[time][level][pid][cid]…`.
fn is_of(line: &str, cid: Option<u64>) -> bool {
    let Some(cid) = cid else { return true };
    let field = line.split(']').nth(3).and_then(|field| field.trim_start().strip_prefix('['));
    field.is_some_and(|field| field.parse() == Ok(cid))
}

/// What a terminal would obey is shown as a question mark.
fn plain(line: &str) -> String {
    line.chars().map(|letter| if letter.is_control() && letter != '\t' { '?' } else { letter }).collect()
}

/// Shows the log.
pub(crate) fn show(path: &Path, cid: Option<u64>, lines: usize, follow: bool) -> Result<(), String> {
    let fail = |cause: std::io::Error| format!("the log {} can't be read: {cause}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let length = file.get_ref().metadata().map_err(fail)?.len();
    let skipped = length.saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(skipped)).map_err(fail)?;
    let mut last: VecDeque<String> = VecDeque::new();
    let mut part = String::new();
    while let Some(line) = next_line(&mut file, &mut part).map_err(fail)? {
        if is_of(&line, cid) && lines > 0 {
            if last.len() == lines {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    for line in last {
        output::print(&plain(&line))?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        while let Some(line) = next_line(&mut file, &mut part).map_err(fail)? {
            if is_of(&line, cid) {
                output::print(&plain(&line))?;
            }
        }
        let known = file.get_ref().metadata().map_err(fail)?;
        match std::fs::metadata(path) {
            Ok(now) if now.ino() != known.ino() || now.len() < file.stream_position().map_err(fail)? => {
                file = BufReader::new(File::open(path).map_err(fail)?);
                part.clear();
            }
            _ => thread::sleep(LOOK_EVERY),
        }
    }
}

/// The next whole line; what comes before its end waits in `part`.
fn next_line(file: &mut BufReader<File>, part: &mut String) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.by_ref().take(64 << 10).read_until(b'\n', &mut bytes)?;
    part.push_str(&String::from_utf8_lossy(&bytes));
    if part.ends_with('\n') || part.len() >= 64 << 10 {
        let line = std::mem::take(part);
        return Ok(Some(line.trim_end_matches('\n').to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_their_connection() {
        let line = "[2026-11-24 10:00:00.000][trace][4711][105] stream#1: play";
        assert!(is_of(line, Some(105)) && is_of(line, None));
        assert!(!is_of(line, Some(4711)) && !is_of(line, Some(10)) && !is_of("", Some(105)));
        assert_eq!(plain("a\u{1b}[2Jb\t"), "a?[2Jb\t");
    }
}
