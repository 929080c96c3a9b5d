//! The work record: what a process is doing with bytes from outside, in a page that only it and the master have. Should it
//! die of them, the master knows whose they were; nobody else can have written that.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::RingError;
use crate::map::Map;

const CONNECTION: usize = 0;
const IP: usize = 1;
const LEN: usize = 3;
const BYTES: usize = 4;
/// How much of the input that a process works on is kept.
const KEPT: usize = 256;
const TOTAL_BYTES: u64 = 4096;

/// What a process was doing with bytes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The connection they came from.
    pub connection: u64,
    /// Its address.
    pub ip: IpAddr,
    /// The last of them, at most 256.
    pub bytes: Vec<u8>,
}

/// The page of one process.
#[derive(Debug)]
pub struct WorkRecord {
    map: Map,
}

impl WorkRecord {
    /// A new one: nothing is worked on.
    ///
    /// # Errors
    /// [`RingError`] when the kernel has no memory.
    pub fn create() -> Result<Self, RingError> {
        let map = Map::create("srs-work", TOTAL_BYTES)?;
        map.reserve(0, map.bytes())?;
        Ok(Self { map })
    }

    /// Opens the one that another process made.
    ///
    /// # Errors
    /// [`RingError`] when the descriptor is none.
    pub fn open(fd: OwnedFd) -> Result<Self, RingError> {
        let map = Map::writable(fd)?;
        if map.bytes() < TOTAL_BYTES {
            return Err(RingError::Format("it is too short for a work record"));
        }
        Ok(Self { map })
    }

    /// The descriptor to give to the process, or to the next master.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd()
    }

    /// The process begins to work on bytes of a connection.
    pub fn begin(&self, connection: u64, ip: IpAddr, bytes: &[u8]) {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let octets = ip.octets();
        let (halves, _) = octets.as_chunks::<8>();
        for (at, half) in halves.iter().enumerate() {
            self.map.store(IP + at, u64::from_be_bytes(*half), Ordering::Relaxed);
        }
        let last = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or(bytes);
        self.map.store(LEN, last.len() as u64, Ordering::Relaxed);
        self.map.copy_in(BYTES as u64 * 8, last);
        self.map.store(CONNECTION, connection, Ordering::Release);
    }

    /// It has done so and lives.
    pub fn end(&self) {
        self.map.store(CONNECTION, 0, Ordering::Release);
    }

    /// What the process is working on, or was when it died.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        let connection = self.map.load(CONNECTION, Ordering::Acquire);
        if connection == 0 {
            return None;
        }
        let half = |at: usize| u128::from(self.map.load(IP + at, Ordering::Relaxed));
        let ip = Ipv6Addr::from_bits(half(0) << 64 | half(1)).to_canonical();
        let len = self.map.load(LEN, Ordering::Relaxed).min(KEPT as u64);
        let mut bytes = Vec::new();
        self.map.copy_out(BYTES as u64 * 8, usize::try_from(len).unwrap_or(0), &mut bytes);
        Some(Work { connection, ip, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_died_of_is_known() {
        let record = WorkRecord::create().unwrap();
        let own = WorkRecord::open(record.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(record.work(), None);
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for ip in ["127.0.0.2", "2001:db8::1"] {
            let ip = ip.parse().unwrap();
            own.begin(77, ip, &bytes);
            assert_eq!(record.work(), Some(Work { connection: 77, ip, bytes: bytes[744..].to_vec() }));
        }
        own.begin(78, "::1".parse().unwrap(), b"abc");
        assert_eq!(record.work().unwrap().bytes, b"abc");
        own.end();
        assert_eq!(record.work(), None);
    }
}
