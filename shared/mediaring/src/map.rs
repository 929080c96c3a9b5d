//! The unsafe room: shared memory as an array of atomic words, and the one system call that takes media out of it.
//!
//! Memory that another process writes may only be touched through atomics, so nothing here hands out a byte reference.
//! Under Miri the memory is a heap allocation, and everything above this module runs unchanged.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod, fstat};

use crate::RingError;

/// Bytes of a word.
pub(crate) const WORD: u64 = 8;

/// Shared memory. Whether stores are allowed is the business of the types around it: only `RingWriter` and `Scoreboard`
/// call [`Map::store`], and both map writable.
#[derive(Debug)]
pub(crate) struct Map {
    memory: memmap2::MmapRaw,
    words: usize,
    fd: OwnedFd,
}

impl Map {
    /// A new sealed memfd of `bytes` bytes (rounded up to a word), mapped writable. Mode 0600, so that a reader with
    /// another uid can't re-open it writable; sealed against resizing, so that nobody can make a mapping fault.
    pub(crate) fn create(name: &str, bytes: u64) -> Result<Self, RingError> {
        let bytes = bytes.next_multiple_of(WORD);
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(|error| RingError::os("memfd_create", error))?;
        let length = i64::try_from(bytes).map_err(|_| RingError::Size { data_bytes: bytes, records: 0 })?;
        nix::unistd::ftruncate(&fd, length).map_err(|error| RingError::os("ftruncate", error))?;
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| RingError::os("fchmod", error))?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))
            .map_err(|error| RingError::os("fcntl F_ADD_SEALS", error))?;
        Self::writable(fd)
    }

    /// Maps an existing memfd writable.
    pub(crate) fn writable(fd: OwnedFd) -> Result<Self, RingError> {
        Self::check(&fd)?;
        let memory =
            memmap2::MmapOptions::new().map_raw(&fd).map_err(|error| RingError::os("mmap", error))?;
        Ok(Self { words: memory.len() / 8, memory, fd })
    }

    /// Maps an existing memfd read-only.
    pub(crate) fn read_only(fd: OwnedFd) -> Result<Self, RingError> {
        Self::check(&fd)?;
        let memory = memmap2::MmapOptions::new()
            .map_raw_read_only(&fd)
            .map_err(|error| RingError::os("mmap", error))?;
        Ok(Self { words: memory.len() / 8, memory, fd })
    }

    fn check(fd: &OwnedFd) -> Result<(), RingError> {
        if is_sealed(fd.as_fd())? {
            Ok(())
        } else {
            Err(RingError::Format("it is not sealed against shrinking"))
        }
    }

    /// Gets the memory of `len` bytes from byte offset `at` on now. Where there is none, this fails; a store into memory
    /// that was not got could end the process when there is none left.
    pub(crate) fn reserve(&self, at: u64, len: u64) -> Result<(), RingError> {
        let at = libc::off_t::try_from(at).unwrap_or(libc::off_t::MAX);
        let len = libc::off_t::try_from(len).unwrap_or(libc::off_t::MAX);
        if len == 0 {
            return Ok(());
        }
        nix::fcntl::fallocate(&self.fd, nix::fcntl::FallocateFlags::empty(), at, len)
            .map_err(|error| RingError::os("fallocate", error))
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.words as u64 * WORD
    }

    /// The descriptor behind the mapping.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A second description of the same memory, opened read-only: what a reader is given.
    pub(crate) fn reopen_read_only(&self) -> Result<OwnedFd, RingError> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let file = std::fs::File::open(path).map_err(|error| RingError::os("open read-only", error))?;
        Ok(OwnedFd::from(file))
    }

    /// All words.
    fn all(&self) -> &[AtomicU64] {
        let base: *const AtomicU64 = self.memory.as_ptr().cast();
        // SAFETY: the mapping has `self.words` whole words, is page-aligned (hence 8-aligned), initialised (zeros, or what
        // was stored), lives as long as `self`, and can't shrink (the memfd is sealed, checked before mapping). Every access
        // by us and by other processes is atomic. Of read-only mappings words are only loaded, and only with `Relaxed`
        // (`load`): for no other ordering does std::sync::atomic promise that such a load writes nothing. That nothing is
        // stored there is kept by the types around (`Map`).
        unsafe { std::slice::from_raw_parts(base, self.words) }
    }

    /// The word at `index`.
    fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.all().get(index)
    }

    /// The words from `index` on, at most `count`.
    fn words_from(&self, index: usize, count: usize) -> &[AtomicU64] {
        let all = self.all();
        let from = index.min(all.len());
        let to = from.saturating_add(count).min(all.len());
        all.get(from..to).unwrap_or(&[])
    }

    /// Loads a word; beyond the end it reads as 0. With `Acquire` what was written before a `Release` store of this value is
    /// seen: a relaxed load and a fence, which is as strong (std::sync::atomic::fence), and allowed on read-only pages.
    pub(crate) fn load(&self, index: usize, ordering: Ordering) -> u64 {
        let value = self.word(index).map_or(0, |word| word.load(Ordering::Relaxed));
        if ordering == Ordering::Acquire {
            fence(Ordering::Acquire);
        }
        value
    }

    /// Stores a word; beyond the end nothing happens. Only for writable maps.
    pub(crate) fn store(&self, index: usize, value: u64, ordering: Ordering) {
        if let Some(word) = self.word(index) {
            word.store(value, ordering);
        }
    }

    /// Adds to a word (wrapping). Only for writable maps.
    pub(crate) fn add(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Replaces a word that has the value `from`. Returns whether it had. Only for writable maps.
    pub(crate) fn replace(&self, index: usize, from: u64, to: u64) -> bool {
        // Acquire and release: who finds the new value also finds what was stored before it, and partners with the loads of it.
        self.word(index)
            .is_some_and(|word| word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    /// Copies `bytes` to the byte offset `at`. The writer is alone, so the words at both edges may be read and merged.
    pub(crate) fn copy_in(&self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Ok(at) = usize::try_from(at) else { return };
        let mut index = at / 8;
        let lead = at % 8;
        let mut rest = bytes;
        if lead != 0 {
            let take = rest.len().min(8 - lead);
            let (head, tail) = rest.split_at(take);
            self.merge(index, lead, head);
            rest = tail;
            index += 1;
        }
        let (whole, last) = rest.as_chunks::<8>();
        for (word, bytes) in self.words_from(index, whole.len()).iter().zip(whole) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if !last.is_empty() {
            self.merge(index + whole.len(), 0, last);
        }
    }

    fn merge(&self, index: usize, lead: usize, bytes: &[u8]) {
        let mut word = self.load(index, Ordering::Relaxed).to_ne_bytes();
        if let Some(place) = word.get_mut(lead..lead + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.store(index, u64::from_ne_bytes(word), Ordering::Relaxed);
    }

    /// Appends the `len` bytes at byte offset `at` to `out`. What a writer changes meanwhile comes out torn; the caller
    /// checks afterwards.
    pub(crate) fn copy_out(&self, at: u64, len: usize, out: &mut Vec<u8>) {
        let Ok(at) = usize::try_from(at) else { return };
        out.reserve(len);
        let mut index = at / 8;
        let mut left = len;
        let lead = at % 8;
        if lead != 0 {
            let word = self.load(index, Ordering::Relaxed).to_ne_bytes();
            let take = left.min(8 - lead);
            out.extend(word.iter().skip(lead).take(take));
            left -= take;
            index += 1;
        }
        let whole = self.words_from(index, left / 8);
        out.extend(whole.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()));
        // Beyond the memory there is nothing: zeros, so that the length is what was asked for.
        let missing = left / 8 - whole.len();
        out.resize(out.len() + missing * 8, 0);
        index += left / 8;
        left %= 8;
        if left > 0 {
            out.extend(self.load(index, Ordering::Relaxed).to_ne_bytes().iter().take(left));
        }
    }

    /// Sends up to two spans of this memory, after `prefix`, with one `sendmsg`. The kernel copies; no Rust code reads the
    /// bytes. Spans are `(byte offset, length)` and are cut at the end of the memory.
    #[inline]
    pub(crate) fn send(&self, socket: RawFd, prefix: &[u8], spans: [(u64, usize); 2]) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 3];
        let mut count = 0;
        if !prefix.is_empty() {
            vectors[0] = libc::iovec { iov_base: prefix.as_ptr().cast_mut().cast(), iov_len: prefix.len() };
            count = 1;
        }
        for (at, len) in spans {
            let Ok(at) = usize::try_from(at) else { continue };
            let len = len.min((self.words * 8).saturating_sub(at));
            if len == 0 {
                continue;
            }
            // SAFETY: `at` lies inside the mapping (len would be 0 otherwise).
            let base = unsafe { self.memory.as_mut_ptr().add(at) };
            if let Some(vector) = vectors.get_mut(count) {
                *vector = libc::iovec { iov_base: base.cast(), iov_len: len };
                count += 1;
            }
        }
        // SAFETY: an all-zero msghdr is a valid "no name, no control" header.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = count;
        // SAFETY: the iovecs point into `prefix` (borrowed for the call) and into the mapping (alive as long as `self`), each
        // with a length that stays inside; the kernel only reads them. A wrong descriptor is an error, not undefined.
        let sent =
            unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Whether the memory behind `fd` is sealed against shrinking (a mapping of it can't fault).
///
/// # Errors
/// [`RingError::Os`] when the kernel can't tell (not a memfd).
fn is_sealed(fd: BorrowedFd<'_>) -> Result<bool, RingError> {
    let seals =
        fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|error| RingError::os("fcntl F_GET_SEALS", error))?;
    let size = fstat(fd).map_err(|error| RingError::os("fstat", error))?.st_size;
    Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK) && size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_at_every_alignment() {
        let map = Map::create("test", 256).unwrap();
        for at in 0..17_u64 {
            for len in 0..40_usize {
                let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n * 5 + 1).unwrap()).collect();
                map.copy_in(at, &bytes);
                let mut out = Vec::new();
                map.copy_out(at, len, &mut out);
                assert_eq!(out, bytes, "at {at}");
            }
        }
    }

    #[test]
    fn the_memory_cannot_be_resized_nor_written_through_a_reader() {
        let map = Map::create("test", 8192).unwrap();
        assert!(nix::unistd::ftruncate(map.fd(), 0).is_err());
        assert!(nix::unistd::ftruncate(map.fd(), 1 << 20).is_err());
        let reader = map.reopen_read_only().unwrap();
        assert!(memmap2::MmapOptions::new().map_raw(&reader).is_err());
        assert!(nix::unistd::ftruncate(&reader, 0).is_err());
    }
}
