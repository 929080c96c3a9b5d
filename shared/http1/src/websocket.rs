//! WebSockets (RFC 6455) as far as a server needs them that only sends: the answer to the greeting, the frames, and what
//! the client may say meanwhile.

use sha1::{Digest, Sha1};

const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest frame taken from a client: control frames have no more, and there is nothing else to say to us.
const MAX_CLIENT_PAYLOAD: usize = 125;

/// The answer to the key of a greeting.
///
/// ```
/// // The example of the specification.
/// assert_eq!(http1::websocket::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(MAGIC);
    base64(&hash.finalize())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let digit = bits >> (18 - 6 * place) & 0x3f;
            let letter = ALPHABET.get(digit as usize).copied().unwrap_or(b'A');
            out.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

/// In front of a binary frame of `len` bytes.
#[must_use]
pub fn binary_head(len: usize) -> Vec<u8> {
    let mut out = vec![0x82];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Not all of it yet.
    Partial,
    /// A ping: answer with this frame. Behind it, how many bytes were taken.
    Ping(Vec<u8>, usize),
    /// Something without meaning here; so many bytes.
    Other(usize),
    /// It leaves, or breaks the rules: close.
    Close,
}

/// Reads one frame of a client.
#[must_use]
pub fn read(bytes: &[u8]) -> Said {
    let Some(([first, second], rest)) = bytes.split_first_chunk() else { return Said::Partial };
    let len = usize::from(second & 0x7f);
    // Clients mask what they send (5.1), and longer lengths have a form of their own.
    if second & 0x80 == 0 || len > MAX_CLIENT_PAYLOAD {
        return Said::Close;
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Said::Partial };
    let Some(payload) = rest.get(..len) else { return Said::Partial };
    let taken = 6 + len;
    match first & 0x0f {
        8 => Said::Close,
        9 => {
            let mut pong = vec![0x8a, second & 0x7f];
            pong.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            Said::Ping(pong, taken)
        }
        _ => Said::Other(taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length() {
        assert_eq!(binary_head(125), [0x82, 125]);
        assert_eq!(binary_head(126), [0x82, 126, 0, 126]);
        assert_eq!(binary_head(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
    }

    #[test]
    fn what_clients_say() {
        let ping = [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        assert_eq!(read(&ping), Said::Ping(vec![0x8a, 2, b'h', b'i'], 8));
        for cut in 0..ping.len() {
            assert_eq!(read(&ping[..cut]), Said::Partial);
        }
        assert_eq!(read(&[0x81, 0x80, 0, 0, 0, 0]), Said::Other(6));
        assert_eq!(read(&[0x88, 0x80, 0, 0, 0, 0]), Said::Close);
        assert_eq!(read(&[0x82, 0xff]), Said::Close);
        assert_eq!(read(&[0x82, 0x05]), Said::Close);
    }
}
