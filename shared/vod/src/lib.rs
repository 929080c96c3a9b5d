//! Recorded files, FLV and MP4, as lists of samples: which bytes of a file are which picture or sound, and how they make HLS
//! segments without being coded anew.
//!
//! Files may come from strangers. Every count and position in them is held against the length of the file before it is used, and
//! what is kept of one has a bound ([`MAX_SAMPLES`]). Nothing here opens files: they are a [`Storage`].

#![forbid(unsafe_code)]

mod flv_file;
mod index;
mod movie;
mod movie_boxes;
mod movie_entry;
mod segment;

pub use flv_file::{From, Start, start};
pub use index::{Index, Part, Sample};
pub use segment::playlist;

/// Most samples of one file: two hours and more of pictures and sounds take a quarter of a million.
pub const MAX_SAMPLES: usize = 4 << 20;

/// Bytes that can be read at any place.
pub trait Storage {
    /// How many there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads as many as fit into `into`, from `at` on; all of them, or it fails.
    ///
    /// # Errors
    /// [`Unreadable`], whatever the cause.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Unreadable>;
}

impl Storage for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        let at = usize::try_from(at).map_err(|_| Unreadable)?;
        let end = at.checked_add(into.len()).ok_or(Unreadable)?;
        into.copy_from_slice(self.get(at..end).ok_or(Unreadable)?);
        Ok(())
    }
}

/// A file that can't be read, or ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file can't be read, or ends early")]
pub struct Unreadable;

/// Why a file is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VodError {
    /// It can't be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It is neither FLV nor MP4.
    #[error("the file is neither FLV nor MP4")]
    Kind,
    /// A box, a tag or a table that can't be.
    #[error("the {what} at byte {at} makes no sense")]
    Layout {
        /// What it is, such as a box's name.
        what: &'static str,
        /// Offset in the file.
        at: u64,
    },
    /// More samples than are kept of a file.
    #[error("the file has more than {MAX_SAMPLES} samples")]
    TooLong,
    /// No track that can be played.
    #[error("the file has no track of pictures or sounds that can be played here")]
    NoTrack,
}

/// Reads a range of bounded length.
fn take(storage: &(impl Storage + ?Sized), at: u64, len: usize) -> Result<Vec<u8>, VodError> {
    if at.checked_add(len as u64).is_none_or(|end| end > storage.len()) {
        return Err(Unreadable.into());
    }
    let mut bytes = vec![0; len];
    storage.read(at, &mut bytes)?;
    Ok(bytes)
}
