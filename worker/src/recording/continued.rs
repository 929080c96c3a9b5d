//! Recordings that each publish continues. The file says what it ends with, and reading that is the disk's business: so the
//! packets go to the disk's thread with the times of the stream, and are put into the file there.

use std::fs::File;
use std::io;

use bytes::Bytes;
use media::{Kind, StreamKey};
use mediaring::Flags;
use remux::{AccessUnit, TrackSet};

use super::flv_file::Patch;
use super::flv_tail::FlvTail;
use super::mp4_tail::Mp4Tail;
use crate::reading::Publish;

/// Most bytes that are cut off from the end of a file because they are not whole: more were not lost by a crash.
pub(crate) const MAX_TORN: u64 = 64 << 20;

/// Something that goes into a file.
#[derive(Debug)]
pub(crate) enum Piece {
    /// For FLV: a packet as it came.
    Tag { kind: Kind, dts_ms: i64, flags: Flags, body: Bytes },
    /// For MP4.
    Sample(i64, AccessUnit),
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Tag { body, .. } => body.len(),
            Self::Sample(_, coded) => coded.data.len(),
        }
    }
}

/// What goes into a file from now on.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) key: StreamKey,
    pub(crate) publish: Publish,
    /// DTS of the first packet.
    pub(crate) dts_ms: i64,
    /// Times are the publisher's own where they do not go back.
    pub(crate) absolute: bool,
    pub(crate) is_mp4: bool,
    pub(crate) metadata: Option<Bytes>,
    /// Sequence headers of pictures and sounds.
    pub(crate) headers: [Option<Bytes>; 2],
    pub(crate) track_set: TrackSet,
}

/// Where a part of a file comes from: which publish, and what is time 0 of the file in the time of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) publish: Publish,
    pub(crate) offset_ms: i64,
}

/// How long a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) duration_ms: u64,
    pub(crate) bytes: u64,
}

/// A file with what is known of its end.
#[derive(Debug)]
pub(crate) enum Tail {
    Flv(Box<FlvTail>),
    Mp4(Box<Mp4Tail>),
}

/// What a file that is there turned out to be.
#[derive(Debug)]
pub(crate) enum Found {
    /// It can be continued.
    Fits(Tail),
    /// A recording, but one that this can't be a part of.
    Other(&'static str),
    /// Something else.
    Alien,
}

impl Tail {
    /// Begins a file. `None` when there is nothing that can be in it.
    pub(crate) fn begin(start: &Start) -> Option<(Self, Vec<u8>)> {
        if start.is_mp4 {
            let (tail, bytes) = Mp4Tail::begin(start)?;
            Some((Self::Mp4(Box::new(tail)), bytes))
        } else {
            let (tail, bytes) = FlvTail::begin(start);
            Some((Self::Flv(Box::new(tail)), bytes))
        }
    }

    /// Reads the end of a file that is there.
    pub(crate) fn find(file: &File, start: &Start) -> io::Result<Found> {
        let total = file.metadata()?.len();
        let found = if start.is_mp4 { Mp4Tail::find(file, start)? } else { FlvTail::find(file)? };
        Ok(match found {
            Found::Fits(tail) if total.saturating_sub(tail.length().bytes) > MAX_TORN => Found::Alien,
            found => found,
        })
    }

    /// Something follows. Returns what is written before it.
    pub(crate) fn go_on(&mut self, start: &Start) -> io::Result<Vec<u8>> {
        match self {
            Self::Flv(flv) => flv.go_on(start),
            Self::Mp4(mp4) => Ok(mp4.go_on(start)),
        }
    }

    /// Appends what is written for a piece, at once or later.
    pub(crate) fn take(&mut self, piece: &Piece, out: &mut Vec<u8>) -> io::Result<()> {
        match (self, piece) {
            (Self::Flv(flv), Piece::Tag { kind, dts_ms, flags, body }) => {
                flv.take((*kind, *dts_ms, *flags), body, out)
            }
            (Self::Mp4(mp4), Piece::Sample(dts_ms, coded)) => {
                mp4.take(*dts_ms, coded, out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What is appended when nothing follows for now, and what is written over the beginning.
    pub(crate) fn finish(&mut self) -> (Vec<u8>, Patch) {
        match self {
            Self::Flv(flv) => (Vec::new(), flv.finish()),
            Self::Mp4(mp4) => mp4.finish(),
        }
    }

    /// How long the file is, without what only stands at an end.
    pub(crate) fn length(&self) -> Length {
        match self {
            Self::Flv(flv) => flv.length(),
            Self::Mp4(mp4) => mp4.length(),
        }
    }
}

#[cfg(test)]
mod tests;
