// FLV in, tags out: for a stream of bytes of any cut. Layout as in Adobe's Video File Format Specification, version 10.1.

export const AUDIO = 8;
export const VIDEO = 9;

const MOST_TAG = 16 << 20;

export class FlvReader {
  constructor() {
    this.rest = new Uint8Array(0);
    this.begun = false;
  }

  // Calls `tag(kind, timeMs, body)` for each whole tag.
  push(bytes, tag) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const view = new DataView(all.buffer);
    let at = 0;
    if (!this.begun) {
      if (all.length < 13) {
        this.rest = all;
        return;
      }
      if (all[0] !== 0x46 || all[1] !== 0x4c || all[2] !== 0x56) throw new Error("not FLV");
      at = view.getUint32(5) + 4;
      this.begun = true;
    }
    while (at + 11 <= all.length) {
      const size = view.getUint32(at) & 0xffffff;
      if (size > MOST_TAG) throw new Error("a tag is too large");
      const end = at + 11 + size + 4;
      if (end > all.length) break;
      const timeMs = (view.getUint32(at + 4) >>> 8) | (all[at + 7] << 24);
      tag(all[at] & 0x1f, timeMs >>> 0, all.subarray(at + 11, at + 11 + size));
      at = end;
    }
    this.rest = all.slice(at);
  }
}

// Bits, for sequence parameter sets: emulation prevention bytes are taken out first (H.264 7.3.1).
class Bits {
  constructor(unit) {
    const bytes = [];
    for (let at = 0; at < unit.length; at += 1) {
      if (at >= 2 && unit[at] === 3 && unit[at - 1] === 0 && unit[at - 2] === 0) continue;
      bytes.push(unit[at]);
    }
    this.bytes = bytes;
    this.at = 0;
  }

  bit() {
    const byte = this.bytes[this.at >> 3];
    if (byte === undefined) throw new Error("a parameter set is too short");
    const bit = (byte >> (7 - (this.at & 7))) & 1;
    this.at += 1;
    return bit;
  }

  bits(count) {
    let value = 0;
    for (let n = 0; n < count; n += 1) value = value * 2 + this.bit();
    return value;
  }

  unsigned() {
    let zeros = 0;
    while (this.bit() === 0) {
      zeros += 1;
      if (zeros > 31) throw new Error("a number is too long");
    }
    return 2 ** zeros - 1 + this.bits(zeros);
  }

  signed() {
    const value = this.unsigned();
    return value % 2 ? (value + 1) / 2 : -value / 2;
  }
}

// Width and height that a sequence parameter set says (H.264 7.3.2.1.1).
export function pictureSize(unit) {
  const bits = new Bits(unit.subarray(1));
  const profile = bits.bits(8);
  bits.bits(16);
  bits.unsigned();
  let chroma = 1;
  if ([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].includes(profile)) {
    chroma = bits.unsigned();
    if (chroma === 3) bits.bit();
    bits.unsigned();
    bits.unsigned();
    bits.bit();
    if (bits.bit()) {
      for (let list = 0; list < (chroma === 3 ? 12 : 8); list += 1) {
        if (!bits.bit()) continue;
        let next = 8;
        for (let n = 0, last = 8; n < (list < 6 ? 16 : 64); n += 1) {
          if (next !== 0) next = (last + bits.signed() + 256) % 256;
          last = next === 0 ? last : next;
        }
      }
    }
  }
  bits.unsigned();
  const order = bits.unsigned();
  if (order === 0) {
    bits.unsigned();
  } else if (order === 1) {
    bits.bit();
    bits.signed();
    bits.signed();
    for (let left = Math.min(bits.unsigned(), 255); left > 0; left -= 1) bits.signed();
  }
  bits.unsigned();
  bits.bit();
  const width = (bits.unsigned() + 1) * 16;
  const units = bits.unsigned() + 1;
  const frames = bits.bit();
  if (!frames) bits.bit();
  const height = (2 - frames) * units * 16;
  bits.bit();
  if (!bits.bit()) return { width, height };
  const [left, right, top, bottom] = [bits.unsigned(), bits.unsigned(), bits.unsigned(), bits.unsigned()];
  const across = chroma === 1 || chroma === 2 ? 2 : 1;
  const down = (chroma === 1 ? 2 : 1) * (2 - frames);
  return { width: width - (left + right) * across, height: height - (top + bottom) * down };
}
