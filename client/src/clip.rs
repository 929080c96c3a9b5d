//! An FLV file read tag by tag, in little memory however long it is.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use flv::file::{FlvError, Reader, Tag};

/// Bytes read from the file at once.
const READ_BYTES: usize = 64 << 10;

/// An FLV file.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    file: File,
    reader: Reader,
    buffer: Vec<u8>,
}

/// Why a file can't be played; the sentence names the file.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// It can't be opened.
    #[error("can't open {}: {cause}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It can't be read.
    #[error("can't read {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not FLV.
    #[error("can't play {}: {cause}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FlvError,
    },
    /// It ends before its first audio or video tag.
    #[error("can't play {}: it holds no audio and no video", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Clip {
    /// Opens a file; whether it is FLV shows with the first tag.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let failed = |cause| ClipError::Open { path: path.to_owned(), cause };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { path: path.to_owned(), file, reader: Reader::new(), buffer: vec![0; READ_BYTES] })
    }

    /// The next tag, `None` at the end; an incomplete last tag is left out.
    ///
    /// # Errors
    /// When the file can't be read or is not FLV.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, ClipError> {
        loop {
            match self.reader.next_tag() {
                Ok(Some(tag)) => return Ok(Some(tag)),
                Ok(None) => {}
                Err(cause) => return Err(ClipError::Format { path: self.path.clone(), cause }),
            }
            match self.file.read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.reader.push(self.buffer.get(..count).unwrap_or_default()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(ClipError::Read { path: self.path.clone(), cause }),
            }
        }
    }

    /// Goes back to the beginning.
    ///
    /// # Errors
    /// When the file is not one that can be read twice.
    pub fn rewind(&mut self) -> Result<(), ClipError> {
        self.reader = Reader::new();
        self.file.rewind().map_err(|cause| ClipError::Read { path: self.path.clone(), cause })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
