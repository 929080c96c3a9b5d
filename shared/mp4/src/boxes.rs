//! Boxes: a length, four characters, and what is inside.

use media::number::len_u32;
/// Appends a box; what `inside` appends is its content.
pub(crate) fn boxed(out: &mut Vec<u8>, name: [u8; 4], inside: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&name);
    inside(out);
    let len = len_u32(out.len() - at);
    patch(out, at, len);
}

/// A box with a version and flags.
pub(crate) fn full(
    out: &mut Vec<u8>,
    name: [u8; 4],
    version: u8,
    flags: u32,
    inside: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, name, |out| {
        let [_, a, b, c] = flags.to_be_bytes();
        out.extend_from_slice(&[version, a, b, c]);
        inside(out);
    });
}

/// Writes over four bytes that are there already.
pub(crate) fn patch(out: &mut [u8], at: usize, value: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Writes over eight.
pub(crate) fn patch_u64(out: &mut [u8], at: usize, value: u64) {
    if let Some(place) = out.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, 0);
}
