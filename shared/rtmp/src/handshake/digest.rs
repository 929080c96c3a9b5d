//! The digest inside C1 and S1 of the complex handshake.
//!
//! ```text
//! 0     4        8                      772                    1536
//! time  version  first block (764)      second block (764)
//!
//! digest block   offset field(4)  ...  digest(32) at 4 + sum(offset field) mod 728  ...
//! key block      ...  key(128) at sum(offset field) mod 632  ...  offset field(4)
//! ```
//!
//! [`Schema::KeyFirst`] has the key block first, [`Schema::DigestFirst`] the digest block. The key is of use to RTMPE
//! only, which we do not offer, so random bytes stand there.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of C1, C2, S1 and S2.
pub const BLOCK: usize = 1536;

/// Bytes of a digest.
pub const DIGEST: usize = 32;

const FLASH_PLAYER: &[u8; 62] = b"Genuine Adobe Flash Player 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

const MEDIA_SERVER: &[u8; 68] = b"Genuine Adobe Flash Media Server 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// Key of the digest in C1.
pub const CLIENT_KEY: &[u8] = FLASH_PLAYER.split_at(30).0;
/// Key of the digest in S1.
pub const SERVER_KEY: &[u8] = MEDIA_SERVER.split_at(36).0;
/// Key from which C2's key is made.
pub const CLIENT_KEY_FULL: &[u8] = FLASH_PLAYER;
/// Key from which S2's key is made.
pub const SERVER_KEY_FULL: &[u8] = MEDIA_SERVER;

/// Where key and digest stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Schema 0: key block, then digest block.
    KeyFirst,
    /// Schema 1: digest block, then key block.
    DigestFirst,
}

impl Schema {
    fn digest_block(self) -> usize {
        match self {
            Self::KeyFirst => 772,
            Self::DigestFirst => 8,
        }
    }
}

/// Where the digest of `packet` stands: at most 12 + 727 or 776 + 727, so that it always ends within the packet.
fn digest_at(packet: &[u8], schema: Schema) -> Option<usize> {
    let block = schema.digest_block();
    let sum: usize = packet.get(block..block + 4)?.iter().map(|byte| usize::from(*byte)).sum();
    Some(block + 4 + sum % 728)
}

fn digest_of(packet: &[u8], at: usize, key: &[u8]) -> Option<[u8; DIGEST]> {
    Some(hmac(key, &[packet.get(..at)?, packet.get(at + DIGEST..)?]))
}

/// The digest in `packet` when it is right for this schema and key.
#[must_use]
pub fn verify(packet: &[u8], schema: Schema, key: &[u8]) -> Option<[u8; DIGEST]> {
    let at = digest_at(packet, schema)?;
    let computed = digest_of(packet, at, key)?;
    (packet.get(at..at + DIGEST)? == computed).then_some(computed)
}

/// Puts the digest into C1 or S1.
pub fn sign(packet: &mut [u8; BLOCK], schema: Schema, key: &[u8]) {
    let digest = digest_at(packet, schema).and_then(|at| Some((at, digest_of(packet, at, key)?)));
    if let Some((at, digest)) = digest
        && let Some(place) = packet.get_mut(at..at + DIGEST)
    {
        place.copy_from_slice(&digest);
    }
}

/// Puts the proof into the last 32 bytes of C2 or S2: it depends on the digest that the peer sent.
pub fn sign_answer(packet: &mut [u8; BLOCK], key: &[u8], peer_digest: &[u8; DIGEST]) {
    let key = hmac(key, &[peer_digest]);
    if let Some((body, proof)) = packet.split_last_chunk_mut::<DIGEST>() {
        *proof = hmac(&key, &[body]);
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_stays_inside_at_every_offset() {
        for schema in [Schema::KeyFirst, Schema::DigestFirst] {
            let block = schema.digest_block();
            for sum in [0_u16, 1, 727, 728, 1020] {
                let mut packet = [0x55; BLOCK];
                let mut left = sum;
                for byte in &mut packet[block..block + 4] {
                    *byte = u8::try_from(left.min(255)).unwrap();
                    left -= u16::from(*byte);
                }
                sign(&mut packet, schema, CLIENT_KEY);
                assert!(verify(&packet, schema, CLIENT_KEY).is_some(), "{schema:?} {sum}");
                assert!(verify(&packet, schema, SERVER_KEY).is_none());
                packet[3] ^= 1;
                assert!(verify(&packet, schema, CLIENT_KEY).is_none());
            }
            for len in 0..BLOCK {
                assert!(verify(&[0xFF; BLOCK][..len], schema, CLIENT_KEY).is_none());
            }
        }
    }
}
