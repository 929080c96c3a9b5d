//! Files that are continued, as the disk's thread has them: found, or begun where there is none that fits. A file that is
//! continued keeps its name and has its temporary one beside it, so that it is seen that it is not finished.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, linkat, openat, renameat_with};
use rustix::io::Errno;

use super::FilePath;
use super::recordings::{MAX_NAMES, Open, Recordings, UNFINISHED, lock, numbered, repair_one};
use crate::recording::continued::{Found, Length, Piece, Start, Tail};

/// Behind the name of something that is no recording, when it has made room for one.
const OTHER: &str = ".other";

/// What was found at a place.
enum Candidate {
    Nothing,
    Fits(File, Tail),
    Other(&'static str),
    Alien,
}

impl Recordings {
    /// Goes on behind what there is at a place, or begins a file. Returns how long it was before.
    pub(crate) fn go_on(&mut self, id: u64, place: &FilePath, start: &Start) -> io::Result<Length> {
        for number in 0..MAX_NAMES {
            let place = FilePath { below: numbered(&place.below, number), ..place.clone() };
            let path = place.root.join(&place.below);
            let (directory, name) = place.directory(true)?;
            let temporary = format!("{name}{UNFINISHED}");
            let left = place.root.join(format!("{}{UNFINISHED}", place.below));
            if left.exists() {
                // Somebody died over it, or is alive.
                match repair_one(&left, place.clone()) {
                    Ok(Some(_)) => {}
                    Ok(None) => drop(set_aside(&directory, &temporary)?),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
            }
            match look(&directory, name, start)? {
                Candidate::Nothing => return self.begin_anew(id, place, start),
                Candidate::Fits(file, mut tail) => {
                    let before = tail.length();
                    file.set_len(before.bytes)?;
                    match linkat(&directory, name, &directory, &temporary, AtFlags::empty()) {
                        Ok(()) => {}
                        // A file system without links: it has its name again when it is finished.
                        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                            renameat_with(&directory, name, &directory, &temporary, RenameFlags::NOREPLACE)?;
                        }
                        Err(error) => return Err(error.into()),
                    }
                    let first = tail.go_on(start)?;
                    let duration_ms = before.duration_ms;
                    tracing::info!(
                        "dvr of {}: {} goes on behind {duration_ms} ms",
                        start.key,
                        path.display()
                    );
                    let open =
                        Open::new(file, (directory, temporary), place.clone(), before.bytes, Some(tail))?;
                    self.insert(id, open);
                    self.append(id, &first)?;
                    return Ok(before);
                }
                Candidate::Other(why) => {
                    tracing::info!(
                        "dvr of {}: {} {why}: it goes on in another file",
                        start.key,
                        path.display()
                    );
                }
                Candidate::Alien => {
                    let aside = set_aside(&directory, name)?;
                    tracing::warn!(
                        "dvr of {}: {} is no recording that can be continued; it is called {aside} now, and a new one is begun",
                        start.key,
                        path.display()
                    );
                    return self.begin_anew(id, place, start);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn begin_anew(&mut self, id: u64, place: FilePath, start: &Start) -> io::Result<Length> {
        let Some((mut tail, mut bytes)) = Tail::begin(start) else {
            return Err(io::Error::other("nothing of the stream can be in such a file"));
        };
        bytes.extend(tail.go_on(start)?);
        self.begin(id, place, &bytes)?;
        self.set_tail(id, tail);
        Ok(Length::default())
    }

    /// Puts pieces behind what there is.
    pub(crate) fn take(&mut self, id: u64, pieces: &[Piece]) -> io::Result<()> {
        let mut out = Vec::new();
        let taken = self
            .tail(id)
            .map_or(Ok(()), |tail| pieces.iter().try_for_each(|piece| tail.take(piece, &mut out)));
        self.append(id, &out)?;
        taken
    }
}

/// What is there.
fn look(directory: &OwnedFd, name: &str, start: &Start) -> io::Result<Candidate> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Candidate::Nothing),
        // A link, a directory, a file of somebody else's.
        Err(Errno::LOOP | Errno::ISDIR | Errno::ACCESS | Errno::NXIO) => return Ok(Candidate::Alien),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(Candidate::Alien);
    }
    let file = File::from(file);
    if lock(&file).is_err() {
        return Ok(Candidate::Other("is being written"));
    }
    Ok(match Tail::find(&file, start)? {
        Found::Fits(tail) => Candidate::Fits(file, tail),
        Found::Other(why) => Candidate::Other(why),
        Found::Alien => Candidate::Alien,
    })
}

/// Gives something another name. Returns that.
fn set_aside(directory: &OwnedFd, name: &str) -> io::Result<String> {
    for number in 0..MAX_NAMES {
        let aside = if number == 0 { format!("{name}{OTHER}") } else { format!("{name}{OTHER}-{number}") };
        match renameat_with(directory, name, directory, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(aside),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
