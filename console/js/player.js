// A stream in a video element, by one of several ways, with an overlay of figures; it begins again when the stream does.

import { element, path, rate } from "./format.js";
import { FlvPlayer } from "./flv_player.js";
import { say } from "./i18n.js";

const HLS = "application/vnd.apple.mpegurl";
// Pauses before the next try, ms.
const AGAIN_MS = [500, 1000, 2000, 4000];

export const KINDS = ["mp4", "flv", "hls"];

export function works(kind) {
  const video = document.createElement("video");
  if (kind === "hls") return video.canPlayType(HLS) !== "";
  if (kind === "flv") return FlvPlayer.works();
  return video.canPlayType('video/mp4; codecs="avc1.42e01e"') !== "";
}

export class Player {
  constructor(stage) {
    this.stage = stage;
    this.video = element("video", { playsinline: true, controls: true, "aria-label": say("player") });
    // A page may begin to play by itself only without sound.
    this.video.muted = true;
    this.video.autoplay = true;
    this.overlay = element("pre", { class: "overlay", hidden: true });
    this.notice = element("p", { class: "notice", role: "status", hidden: true });
    stage.replaceChildren(this.video, this.overlay, this.notice);
    this.tries = 0;
    this.video.addEventListener("playing", () => {
      this.tries = 0;
      this.played = true;
      this.tell("");
    });
    this.video.addEventListener("ended", () => this.again(say("ended_stream")));
    this.video.addEventListener("error", () => {
      const src = this.video.getAttribute("src");
      if (src) this.why(src);
    });
    setInterval(() => this.measure(), 500);
  }

  // Plays a stream from now on.
  play(stream, kind) {
    this.stop();
    if (stream !== this.stream || kind !== this.kind) this.played = false;
    [this.stream, this.kind] = [stream, kind];
    if (!works(kind)) {
      this.tell(say("kind_missing"));
      return;
    }
    if (kind === "flv") {
      this.flv = new FlvPlayer(this.video, path(stream, ".flv"), (reason) => this.again(say(reason === "HTTP 404" ? "not_there" : "ended_stream")));
    } else {
      this.video.src = path(stream, kind === "hls" ? ".m3u8" : ".mp4");
      this.video.play().catch(() => {});
    }
    this.seen = null;
  }

  stop() {
    clearTimeout(this.timer);
    this.flv?.stop();
    this.flv = null;
    if (this.video.getAttribute("src")) {
      this.video.removeAttribute("src");
      this.video.load();
    }
  }

  // A video element does not say why it has failed; the server does. What has not played was not lost: until the server has
  // answered, what was told before stays.
  async why(src) {
    const told = this.notice.hidden ? "" : this.notice.textContent;
    this.again(this.played ? say("lost") : told);
    this.played = false;
    const answer = await fetch(src, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (this.video.getAttribute("src") === src) this.tell(say(answer?.status === 404 ? "not_there" : "lost"));
  }

  again(words) {
    this.tell(words);
    clearTimeout(this.timer);
    const pause = AGAIN_MS[Math.min(this.tries, AGAIN_MS.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.play(this.stream, this.kind), pause);
  }

  tell(words) {
    this.notice.textContent = words;
    this.notice.hidden = words === "";
  }

  statistics(on) {
    this.overlay.hidden = !on;
    this.measure();
  }

  measure() {
    const { video } = this;
    // A native player of an endless file may fall behind while a page sleeps.
    const end = video.buffered.length > 0 ? video.buffered.end(video.buffered.length - 1) : 0;
    if (this.kind === "mp4" && !video.paused && end - video.currentTime > 8) video.currentTime = end - 1;
    if (this.overlay.hidden) return;
    const quality = video.getVideoPlaybackQuality?.() ?? { totalVideoFrames: 0, droppedVideoFrames: 0 };
    const now = { at: performance.now(), bytes: this.flv?.bytes ?? 0 };
    const kbps = this.seen ? ((now.bytes - this.seen.bytes) * 8) / (now.at - this.seen.at) : 0;
    this.seen = now;
    const lines = [
      `${say(`kind_${this.kind}`)}  ${video.videoWidth}×${video.videoHeight}`,
      `${say("latency")}: ${Math.max(end - video.currentTime, 0).toFixed(2)} s`,
      `${say("frames")}: ${quality.totalVideoFrames}, ${say("dropped_frames")}: ${quality.droppedVideoFrames}`,
    ];
    if (this.flv) lines.push(`${say("rate")}: ${rate(kbps)}`);
    this.overlay.textContent = lines.join("\n");
  }
}
