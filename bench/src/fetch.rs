//! HTTP-FLV as a viewer takes it: the head of an answer, chunks where there are some, tags.

use std::io;

use rtmp::MediaKind;

use crate::target::Target;

/// A longer head, or head of a chunk, is none.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Where in the answer we are.
#[derive(Debug)]
enum At {
    Head,
    /// All that comes is FLV.
    Body,
    /// So many bytes of a chunk (RFC 9112, 7.1) are to come, then a line end.
    Chunk(usize),
    /// The line that says how long the next chunk is.
    ChunkHead,
}

/// An answer that is being taken.
#[derive(Debug)]
pub struct Fetch {
    at: At,
    line: Vec<u8>,
    tags: flv::file::Reader,
}

/// The request for stream `number`.
#[must_use]
pub fn request(target: &Target, number: u32) -> Vec<u8> {
    let (app, prefix, host) = (&target.app, &target.prefix, &target.host);
    format!("GET /{app}/{prefix}{number}.flv HTTP/1.1\r\nHost: {host}\r\nUser-Agent: srs-bench\r\n\r\n")
        .into_bytes()
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Status of an answer, and whether it comes in chunks.
fn head(text: &[u8]) -> io::Result<(u16, bool)> {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("no answer of HTTP"))?;
    let chunked = text.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
    Ok((status, chunked))
}

impl Default for Fetch {
    fn default() -> Self {
        Self { at: At::Head, line: Vec::new(), tags: flv::file::Reader::new() }
    }
}

impl Fetch {
    /// Whether the answer has begun.
    #[must_use]
    pub fn begun(&self) -> bool {
        !matches!(self.at, At::Head)
    }

    /// Takes bytes and hands each packet that is complete to `each`.
    ///
    /// # Errors
    /// The answer is another one, or no FLV.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(MediaKind, &[u8])) -> io::Result<()> {
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            match &mut self.at {
                At::Body => {
                    self.tags.push(rest);
                    rest = &[];
                }
                At::Chunk(0) => {
                    // The line end behind a chunk.
                    if *first == b'\n' {
                        self.at = At::ChunkHead;
                    }
                    rest = others;
                }
                At::Chunk(left) => {
                    let (taken, behind) = rest.split_at((*left).min(rest.len()));
                    *left -= taken.len();
                    self.tags.push(taken);
                    rest = behind;
                }
                At::Head | At::ChunkHead => {
                    self.line.push(*first);
                    rest = others;
                    if self.line.len() > MAX_HEAD_BYTES {
                        return Err(bad("the head of an answer has no end"));
                    }
                    self.line_ends()?;
                }
            }
        }
        while let Some(tag) = self.tags.next_tag().map_err(io::Error::other)? {
            each(tag.kind, &tag.body);
        }
        Ok(())
    }

    fn line_ends(&mut self) -> io::Result<()> {
        if matches!(self.at, At::Head) && self.line.ends_with(b"\r\n\r\n") {
            let (status, chunked) = head(&self.line)?;
            if status != 200 {
                return Err(bad(&format!("HTTP status {status}")));
            }
            self.at = if chunked { At::ChunkHead } else { At::Body };
            self.line.clear();
        } else if matches!(self.at, At::ChunkHead) && self.line.ends_with(b"\r\n") {
            let text = String::from_utf8_lossy(&self.line);
            let digits = text.trim().split(';').next().unwrap_or_default();
            let len = usize::from_str_radix(digits, 16).map_err(|_| bad("a chunk has no length"))?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.at = At::Chunk(len);
            self.line.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(chunked: bool) -> Vec<u8> {
        let mut body = flv::file::header(true, true).to_vec();
        for byte in 0..3 {
            assert!(flv::file::write_tag(&mut body, MediaKind::Video, 40, &[byte; 300]));
        }
        let mut out = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n".to_vec();
        if !chunked {
            out.extend_from_slice(b"\r\n");
            out.extend(body);
            return out;
        }
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(77) {
            out.extend(format!("{:X}\r\n", piece.len()).into_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    #[test]
    fn tags_come_out_whole_however_the_bytes_are_cut() {
        for bytes in [answer(false), answer(true)] {
            for cut in 0..bytes.len() {
                let (mut fetch, mut found) = (Fetch::default(), Vec::new());
                for piece in [&bytes[..cut], &bytes[cut..]] {
                    fetch.take(piece, |kind, packet| found.push((kind, packet.to_vec()))).unwrap();
                }
                let wanted: Vec<_> = (0..3).map(|byte| (MediaKind::Video, vec![byte; 300])).collect();
                assert_eq!(found, wanted);
            }
        }
    }

    #[test]
    fn another_answer_is_an_error() {
        let mut fetch = Fetch::default();
        let error = fetch.take(b"HTTP/1.1 404 Not Found\r\n\r\n", |_, _| {}).unwrap_err();
        assert_eq!(error.to_string(), "HTTP status 404");
    }
}
