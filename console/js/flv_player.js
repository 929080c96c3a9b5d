// HTTP-FLV in a video element: our own demuxer and a media source, kept close to the live edge.

import { AUDIO, FlvReader, VIDEO, pictureSize } from "./flv.js";
import { beginning, fragment } from "./fragments.js";

// How long the second track may take to show itself, ms.
const OTHER_TRACK_MS = 600;
// Farther behind the newest frame than this, playback jumps, s.
const MOST_BEHIND = 2.5;
const JUMP_TO = 0.5;
// What has been played is let go of, s.
const KEEP_BEHIND = 20;
const RATES = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

const hex = (byte) => byte.toString(16).padStart(2, "0");

class Track {
  constructor(kind) {
    this.kind = kind;
    this.configuration = null;
    this.buffer = null;
    this.queue = [];
    this.number = 1;
    this.last = null;
    this.duration = kind === "video" ? 40 : 23;
  }

  get mime() {
    if (this.kind === "video") {
      const [, profile, compatibility, level] = this.configuration;
      return `video/mp4; codecs="avc1.${hex(profile)}${hex(compatibility)}${hex(level)}"`;
    }
    return `audio/mp4; codecs="mp4a.40.${this.configuration[0] >> 3}"`;
  }

  // What follows has this configuration; the same may come again.
  configure(record, set) {
    const before = this.configuration;
    if (before?.length === record.length && before.every((byte, at) => byte === record[at])) return;
    set(record);
    if (!before) return;
    // What has not been shown yet of the one before can't be, unless its beginning has gone out.
    if (this.buffer) this.queue.push({ mime: this.mime, bytes: beginning(this) });
    else this.queue = [];
  }

  // AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.2.4.1).
  setVideo(record) {
    const length = (record[6] << 8) | record[7];
    const size = pictureSize(record.subarray(8, 8 + length));
    Object.assign(this, size, { configuration: record.slice() });
  }

  // AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
  setAudio(record) {
    const rate = RATES[((record[0] & 7) << 1) | (record[1] >> 7)] ?? 44100;
    Object.assign(this, { sampleRate: rate, channels: (record[1] >> 3) & 15 || 2, configuration: record.slice() });
  }

  frame(dts, offset, key, bytes) {
    if (this.last !== null && dts > this.last) this.duration = Math.min(dts - this.last, 1000);
    this.last = dts;
    this.queue.push(fragment(this.number, { dts, offset, key, duration: this.duration, bytes }));
    this.number += 1;
  }

  // Gives the buffer what it takes.
  feed(played) {
    const buffer = this.buffer;
    if (!buffer || buffer.updating) return;
    const { buffered } = buffer;
    if (buffered.length > 0 && buffered.start(0) < played - KEEP_BEHIND) {
      buffer.remove(0, played - KEEP_BEHIND / 2);
    } else if (this.queue[0]?.mime) {
      const { mime, bytes } = this.queue.shift();
      buffer.changeType(mime);
      buffer.appendBuffer(bytes);
    } else if (this.queue.length > 0) {
      const until = this.queue.findIndex((part) => part.mime);
      const parts = this.queue.splice(0, Math.min(64, until < 0 ? 64 : until));
      const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        all.set(part, at);
        at += part.length;
      }
      buffer.appendBuffer(all);
    }
  }
}

export class FlvPlayer {
  static works() {
    return "MediaSource" in window && MediaSource.isTypeSupported('video/mp4; codecs="avc1.42e01e"');
  }

  // `ended(reason)` is called once, when nothing more comes.
  constructor(video, url, ended) {
    this.video = video;
    this.ended = ended;
    this.bytes = 0;
    this.tracks = { video: new Track("video"), audio: new Track("audio") };
    this.base = null;
    this.abort = new AbortController();
    this.source = new MediaSource();
    this.url = URL.createObjectURL(this.source);
    video.src = this.url;
    this.source.addEventListener("sourceopen", () => this.run(url), { once: true });
  }

  stop() {
    this.ended = () => {};
    this.abort.abort();
    URL.revokeObjectURL(this.url);
  }

  async run(url) {
    let reason = "";
    try {
      const response = await fetch(url, { signal: this.abort.signal, cache: "no-store" });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const reader = response.body.getReader();
      const flv = new FlvReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.bytes += value.length;
        flv.push(value, (kind, time, body) => this.tag(kind, time, body));
        this.feed();
      }
    } catch (cause) {
      reason = cause.message;
    }
    this.abort.abort();
    this.ended(reason);
  }

  tag(kind, time, body) {
    const { video, audio } = this.tracks;
    if (kind === VIDEO && (body[0] & 0x8f) === 7) {
      const key = body[0] >> 4 === 1;
      if (body[1] === 0 && body.length > 11) {
        video.configure(body.subarray(5), (record) => video.setVideo(record));
      } else if (body[1] === 1) {
        const offset = ((body[2] << 24) | (body[3] << 16) | (body[4] << 8)) >> 8;
        this.frame(video, time, offset, key, body.subarray(5));
      }
    } else if (kind === AUDIO && body[0] >> 4 === 10 && body.length > 2) {
      if (body[1] === 0) {
        audio.configure(body.subarray(2), (record) => audio.setAudio(record));
      } else {
        this.frame(audio, time, 0, true, body.subarray(2));
      }
    }
  }

  frame(track, time, offset, key, bytes) {
    if (!track.configuration) return;
    this.base ??= time;
    // What lies before the first frame, in the other track, is left out.
    if (time >= this.base) track.frame(time - this.base, offset, key, bytes);
    this.since ??= performance.now();
  }

  open() {
    const { video, audio } = this.tracks;
    const tracks = [video, audio].filter((track) => track.configuration);
    const waited = this.since !== undefined && performance.now() - this.since > OTHER_TRACK_MS;
    if (tracks.length === 0 || (tracks.length < 2 && !waited) || this.source.readyState !== "open") return;
    for (const track of tracks) {
      if (!MediaSource.isTypeSupported(track.mime)) continue;
      track.buffer = this.source.addSourceBuffer(track.mime);
      track.queue.unshift(beginning(track));
      track.buffer.addEventListener("updateend", () => this.feed());
    }
    this.opened = true;
  }

  feed() {
    if (!this.opened) this.open();
    if (!this.opened || this.source.readyState !== "open") return;
    for (const track of Object.values(this.tracks)) {
      try {
        track.feed(this.video.currentTime);
      } catch (cause) {
        this.abort.abort();
        return;
      }
    }
    this.keepUp();
  }

  keepUp() {
    const { buffered } = this.video;
    if (buffered.length === 0) return;
    const [first, end] = [buffered.start(buffered.length - 1), buffered.end(buffered.length - 1)];
    if (this.video.currentTime < first) this.video.currentTime = first;
    else if (end - this.video.currentTime > MOST_BEHIND) this.video.currentTime = Math.max(first, end - JUMP_TO);
    if (this.video.paused && !this.begun) {
      this.begun = true;
      this.video.play().catch(() => {});
    }
  }
}
