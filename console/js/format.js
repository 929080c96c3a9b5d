// Numbers as people read them, and elements made without markup: text from streams is text, never HTML.

function scaled(count, step, units) {
  let value = count;
  let unit = 0;
  while (value >= step && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const bytes = (count) => scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const rate = (kbps) => scaled(kbps * 1000, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);

export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (number) => String(number).padStart(2, "0");
  if (hours >= 24) return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
  if (hours > 0) return `${hours}h${two(minutes % 60)}m`;
  if (minutes > 0) return `${minutes}m${two(seconds % 60)}s`;
  return `${seconds}s`;
}

export function video(stream) {
  if (!stream.video) return "–";
  const { codec, profile, width, height } = stream.video;
  return [codec, profile, width && height ? `${width}×${height}` : ""].filter(Boolean).join(" ");
}

export function audio(stream) {
  if (!stream.audio) return "–";
  const { codec, profile, sample_rate: rateHz } = stream.audio;
  return [codec, profile, rateHz ? `${rateHz / 1000} kHz` : ""].filter(Boolean).join(" ");
}

// All tracks of a stream in words, with their rates where they are known.
export function tracks(stream) {
  return (stream.tracks ?? []).map((track) => {
    const words = track.video ? video(track) : audio(track);
    return `${track.video ? "video" : "audio"} ${track.number}: ${words}${track.kbps > 0 ? `, ${rate(track.kbps)}` : ""}`;
  });
}

// An element: tag, properties (class, text, attributes, on… listeners), children.
export function element(tag, properties = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// The path of a stream on this server, with its vhost where it is not the default one.
export function path(stream, ending) {
  const parts = `${stream.app}/${stream.name}`.split("/").map(encodeURIComponent).join("/");
  const vhost = stream.vhost && stream.vhost !== "__defaultVhost__";
  return `/${parts}${ending}${vhost ? `?vhost=${encodeURIComponent(stream.vhost)}` : ""}`;
}

export function page(stream) {
  const query = new URLSearchParams({ vhost: stream.vhost, app: stream.app, stream: stream.name });
  return `/console/stream.html?${query}`;
}

// Copies the text of the code element beside a button.
export function copyable(code, words) {
  const button = element("button", { type: "button", text: words.copy });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = words.copied;
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
    setTimeout(() => { button.textContent = words.copy; }, 1500);
  });
  return button;
}
