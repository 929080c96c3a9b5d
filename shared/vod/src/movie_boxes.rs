//! Boxes of MP4 files (ISO/IEC 14496-12, 4.2): walking through them, whatever they claim.

use media::cursor::Cursor;

/// A box inside another: its name and what it holds.
pub(crate) type Inner<'a> = ([u8; 4], &'a [u8]);

/// The boxes in `bytes`. One that claims more than there is ends the walk.
pub(crate) fn walk(bytes: &[u8]) -> impl Iterator<Item = Inner<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut cursor = Cursor::new(rest);
        let size = cursor.u32().ok()?;
        let name = cursor.take_array::<4>().ok()?;
        let size = match size {
            0 => rest.len() as u64,
            1 => cursor.u64().ok()?,
            size => u64::from(size),
        };
        let size = usize::try_from(size).ok()?;
        let head = cursor.position();
        let inside = rest.get(head..size)?;
        rest = rest.get(size..)?;
        Some((name, inside))
    })
}

/// The first box of a name.
pub(crate) fn find<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    walk(bytes).find(|(found, _)| found == name).map(|(_, inside)| inside)
}

/// The first box along a path of names.
pub(crate) fn find_in<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |inside, name| find(inside, name))
}

/// Version and flags of a full box, and the rest.
pub(crate) fn full(bytes: &[u8]) -> Option<(u8, u32, Cursor<'_>)> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8().ok()?;
    let flags = cursor.u24().ok()?;
    Some((version, flags, cursor))
}

/// A table of a full box: its rows of `N` bytes each, as many as it says and has.
pub(crate) fn table<const N: usize>(bytes: &[u8]) -> Option<&[[u8; N]]> {
    let (_, _, mut cursor) = full(bytes)?;
    let count = usize::try_from(cursor.u32().ok()?).ok()?;
    let (rows, _) = cursor.rest().as_chunks::<N>();
    rows.get(..count)
}

/// A number in a row.
pub(crate) fn number(row: &[u8], at: usize) -> u32 {
    row.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
