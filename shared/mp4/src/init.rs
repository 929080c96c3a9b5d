//! The initialisation segment.

use crate::boxes::{boxed, full, u16, u32, u64, zeros};
use crate::{Colours, Entry};

/// Units of all times in a second.
pub const TIMESCALE: u32 = 1000;

const IDENTITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// A track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// Its number, from 1.
    pub id: u32,
    /// What it is coded with.
    pub entry: Entry,
    /// What its numbers mean as colours, where that is known beside its configuration.
    pub colours: Option<Colours>,
}

/// The bytes in front of all fragments of a live stream.
#[must_use]
pub fn init(tracks: &[TrackInfo]) -> Vec<u8> {
    write(tracks, false)
}

/// The bytes in front of all fragments of a file. They have room for the duration, which [`crate::set_duration`] fills in at
/// the end: a live stream must not say that it has none.
#[must_use]
pub fn init_of_file(tracks: &[TrackInfo]) -> Vec<u8> {
    write(tracks, true)
}

fn write(tracks: &[TrackInfo], is_file: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, *b"ftyp", |out| {
        out.extend_from_slice(b"iso5\0\0\x02\0iso5iso6mp41");
    });
    boxed(&mut out, *b"moov", |out| {
        full(out, *b"mvhd", 0, 0, |out| {
            zeros(out, 8);
            u32(out, TIMESCALE);
            u32(out, 0);
            u32(out, 0x1_0000);
            u16(out, 0x100);
            zeros(out, 10);
            IDENTITY.iter().for_each(|value| u32(out, *value));
            zeros(out, 24);
            u32(out, u32::MAX);
        });
        for (at, track) in tracks.iter().enumerate() {
            let is_same = |other: &&TrackInfo| other.entry.is_video() == track.entry.is_video();
            let is_alone = tracks.iter().filter(is_same).count() == 1;
            let is_first = !tracks.iter().take(at).any(|other| is_same(&other));
            let choice = if is_alone { Choice::None } else { Choice::One { is_first } };
            boxed(out, *b"trak", |out| trak(out, track, choice));
        }
        boxed(out, *b"mvex", |out| {
            if is_file {
                full(out, *b"mehd", 1, 0, |out| u64(out, 0));
            }
            for track in tracks {
                full(out, *b"trex", 0, 0, |out| {
                    for value in [track.id, 1, 0, 0, 0] {
                        u32(out, value);
                    }
                });
            }
        });
    });
    out
}

/// Whether a player chooses among tracks of a kind.
#[derive(Clone, Copy)]
enum Choice {
    /// There is one.
    None,
    /// This is one of them; the first is played unless somebody chooses otherwise.
    One { is_first: bool },
}

fn trak(out: &mut Vec<u8>, track: &TrackInfo, choice: Choice) {
    let is_video = track.entry.is_video();
    let (width, height) = track.entry.size();
    // In the movie, and enabled; number of the tracks among which one is chosen (8.3.2).
    let (flags, group) = match (choice, is_video) {
        (Choice::None, _) => (3, 0),
        (Choice::One { is_first }, is_video) => (if is_first { 3 } else { 2 }, if is_video { 1 } else { 2 }),
    };
    full(out, *b"tkhd", 0, flags, |out| {
        zeros(out, 8);
        u32(out, track.id);
        zeros(out, 16);
        u16(out, 0);
        u16(out, group);
        u16(out, if is_video { 0 } else { 0x100 });
        u16(out, 0);
        IDENTITY.iter().for_each(|value| u32(out, *value));
        u32(out, width << 16);
        u32(out, height << 16);
    });
    boxed(out, *b"mdia", |out| {
        full(out, *b"mdhd", 0, 0, |out| {
            zeros(out, 8);
            u32(out, TIMESCALE);
            u32(out, 0);
            // Language: und.
            u16(out, 0x55c4);
            u16(out, 0);
        });
        full(out, *b"hdlr", 0, 0, |out| {
            u32(out, 0);
            out.extend_from_slice(if is_video { b"vide" } else { b"soun" });
            zeros(out, 12);
            out.extend_from_slice(if is_video { b"Video\0" } else { b"Audio\0" });
        });
        boxed(out, *b"minf", |out| {
            if is_video {
                full(out, *b"vmhd", 0, 1, |out| zeros(out, 8));
            } else {
                full(out, *b"smhd", 0, 0, |out| zeros(out, 4));
            }
            boxed(out, *b"dinf", |out| {
                full(out, *b"dref", 0, 0, |out| {
                    u32(out, 1);
                    full(out, *b"url ", 0, 1, |_| {});
                });
            });
            boxed(out, *b"stbl", |out| {
                full(out, *b"stsd", 0, 0, |out| {
                    u32(out, 1);
                    track.entry.write(out, track.colours.as_ref());
                });
                for (name, empty) in [(*b"stts", 4), (*b"stsc", 4), (*b"stsz", 8), (*b"stco", 4)] {
                    full(out, name, 0, 0, |out| zeros(out, empty));
                }
            });
        });
    });
}
