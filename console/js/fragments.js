// Fragmented MP4 for a browser's media source: one track a buffer, one fragment a frame (ISO/IEC 14496-12, 14496-14, 14496-15).

const TIMESCALE = 1000;

function concat(parts) {
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

const u8 = (...values) => Uint8Array.from(values);
const u16 = (value) => u8(value >> 8, value);
const u32 = (value) => u8(value >>> 24, value >>> 16, value >>> 8, value);
const u64 = (value) => concat([u32(Math.floor(value / 2 ** 32)), u32(value >>> 0)]);
const zeros = (count) => new Uint8Array(count);
const word = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

function box(type, ...parts) {
  const body = concat(parts);
  return concat([u32(body.length + 8), word(type), body]);
}

const full = (type, version, flags, ...parts) => box(type, u8(version), u8(flags >> 16, flags >> 8, flags), ...parts);
const MATRIX = concat([u32(0x10000), zeros(12), u32(0x10000), zeros(12), u32(0x40000000)]);

// A descriptor of MPEG-4 systems: tag, length in one byte, body.
const descriptor = (tag, ...parts) => {
  const body = concat(parts);
  return concat([u8(tag, body.length), body]);
};

function videoEntry(track) {
  return box("avc1", zeros(6), u16(1), zeros(16), u16(track.width), u16(track.height), u32(0x480000), u32(0x480000),
    u32(0), u16(1), zeros(32), u16(0x18), u16(0xffff), box("avcC", track.configuration));
}

function audioEntry(track) {
  const decoder = descriptor(4, u8(0x40, 0x15), zeros(3), u32(0), u32(0), descriptor(5, track.configuration));
  return box("mp4a", zeros(6), u16(1), zeros(8), u16(track.channels), u16(16), u32(0),
    u16(track.sampleRate > 0xffff ? 0 : track.sampleRate), u16(0),
    full("esds", 0, 0, descriptor(3, u16(1), u8(0), decoder, descriptor(6, u8(2)))));
}

// What a buffer begins with.
export function beginning(track) {
  const isVideo = track.kind === "video";
  const [width, height] = isVideo ? [track.width, track.height] : [0, 0];
  const handler = full("hdlr", 0, 0, u32(0), word(isVideo ? "vide" : "soun"), zeros(12), u8(0));
  const head = isVideo ? full("vmhd", 0, 1, zeros(8)) : full("smhd", 0, 0, zeros(4));
  const tables = box("stbl",
    full("stsd", 0, 0, u32(1), isVideo ? videoEntry(track) : audioEntry(track)),
    full("stts", 0, 0, u32(0)), full("stsc", 0, 0, u32(0)), full("stsz", 0, 0, u32(0), u32(0)), full("stco", 0, 0, u32(0)));
  const media = box("mdia",
    full("mdhd", 0, 0, u32(0), u32(0), u32(TIMESCALE), u32(0), u16(0x55c4), u16(0)),
    handler,
    box("minf", head, box("dinf", full("dref", 0, 0, u32(1), full("url ", 0, 1))), tables));
  const movie = box("moov",
    full("mvhd", 0, 0, u32(0), u32(0), u32(TIMESCALE), u32(0), u32(0x10000), u16(0x100), zeros(10), MATRIX, zeros(24), u32(2)),
    box("trak",
      full("tkhd", 0, 3, u32(0), u32(0), u32(1), u32(0), u32(0), zeros(8), u16(0), u16(0), u16(isVideo ? 0 : 0x100), u16(0),
        MATRIX, u16(width), u16(0), u16(height), u16(0)),
      media),
    box("mvex", full("trex", 0, 0, u32(1), u32(1), u32(0), u32(0), u32(0))));
  return concat([box("ftyp", word("isom"), u32(0x200), word("isomiso5avc1mp41")), movie]);
}

// One frame: `sample` has dts and offset (PTS − DTS) and duration in ms, whether it is a key frame, and its bytes.
export function fragment(number, sample) {
  const flags = sample.key ? 0x02000000 : 0x01010000;
  const run = (at) => full("trun", 1, 0xf01, u32(1), u32(at), u32(sample.duration), u32(sample.bytes.length), u32(flags),
    u32(sample.offset >>> 0));
  const moof = (at) => box("moof",
    full("mfhd", 0, 0, u32(number)),
    box("traf", full("tfhd", 0, 0x20000, u32(1)), full("tfdt", 1, 0, u64(sample.dts)), run(at)));
  const size = moof(0).length;
  return concat([moof(size + 8), box("mdat", sample.bytes)]);
}
