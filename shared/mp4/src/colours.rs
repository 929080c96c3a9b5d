//! What the numbers of pictures mean as colours: boxes of a sample entry (ISO/IEC 14496-12, 12.1.5 to 12.1.7).

use crate::boxes::{boxed, u16, u32};

/// Colours of a track; each part where it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Colours {
    /// Primaries, transfer characteristics and matrix, as ITU-T H.273 numbers them.
    pub meaning: Option<[u16; 3]>,
    /// The display that the pictures were made on.
    pub mastering: Option<Mastering>,
    /// Brightest sample and brightest mean of a picture, cd/m².
    pub light: Option<[u16; 2]>,
}

/// A display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mastering {
    /// Chromaticities of green, blue, red and white, x and y of each, in units of 0.00002.
    pub points: [[u16; 2]; 4],
    /// Most and least light, in units of 0.0001 cd/m².
    pub luminance: [u32; 2],
}

impl Colours {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(meaning) = self.meaning {
            boxed(out, *b"colr", |out| {
                out.extend_from_slice(b"nclx");
                meaning.into_iter().for_each(|value| u16(out, value));
                // Nobody says that numbers have their full range.
                out.push(0);
            });
        }
        if let Some(Mastering { points, luminance }) = self.mastering {
            boxed(out, *b"mdcv", |out| {
                points.into_iter().flatten().for_each(|value| u16(out, value));
                luminance.into_iter().for_each(|value| u32(out, value));
            });
        }
        if let Some(light) = self.light {
            boxed(out, *b"clli", |out| light.into_iter().for_each(|value| u16(out, value)));
        }
    }
}
