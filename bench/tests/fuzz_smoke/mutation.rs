//! Mutations of seeds that follow from one number.

/// Numbers at which parsers tend to be wrong.
const EDGES: [u32; 12] =
    [0, 1, 127, 128, 255, 256, 0xffff, 0x00ff_fffe, 0x00ff_ffff, 0x0100_0000, 0x7fff_ffff, 0xffff_ffff];

/// Longest input that is made.
const MAX_BYTES: usize = 64 << 10;

pub(crate) struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(seed: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: seed }
    }

    /// The next random number (splitmix64).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number below `end`, 0 when there is none.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.random() % end.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[0]
    }

    /// A place in `bytes`; half of the time near the beginning, where headers are.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let end = if self.random().is_multiple_of(2) { bytes.len().min(64) } else { bytes.len() };
        self.below(end)
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let chosen = self.below(self.seeds.len());
        let mut bytes = self.seeds[chosen].clone();
        for _ in 0..=self.below(5) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes);
        let span = at..(at + self.below(24)).min(bytes.len());
        match self.random() % 9 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (self.random() % 8);
                }
            }
            1 => {
                let new = self.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = new;
                }
            }
            2 => {
                let edge = EDGES[self.below(EDGES.len())].to_be_bytes();
                let width = 1 + self.below(4);
                if let Some(place) = bytes.get_mut(at..at + width) {
                    place.copy_from_slice(&edge[4 - width..]);
                }
            }
            3 => {
                bytes.drain(span);
            }
            4 => {
                let piece: Vec<u8> = bytes[span].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let piece: Vec<u8> = (0..self.below(24)).map(|_| self.byte()).collect();
                bytes.splice(at..at, piece);
            }
            6 => bytes.truncate(at),
            7 => {
                let other = self.below(self.seeds.len());
                let from = self.below(self.seeds[other].len());
                bytes.truncate(at);
                bytes.extend_from_slice(&self.seeds[other][from..]);
            }
            _ => {
                let filler = self.byte();
                bytes[span].fill(filler);
            }
        }
    }
}
