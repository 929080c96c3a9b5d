// Addresses under which a stream is published and played, with buttons that copy them.

import { copyable, element, path } from "./format.js";
import { say } from "./i18n.js";

let ports = null;

// Where the server takes RTMP: told by the server itself.
export async function rtmpPort() {
  ports ??= fetch("/console/server.json").then((answer) => answer.json()).catch(() => ({}));
  return (await ports).rtmp_port ?? 1935;
}

export async function addresses(stream) {
  const port = await rtmpPort();
  const host = location.hostname;
  const bare = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const authority = port === 1935 ? bare : `${bare}:${port}`;
  const vhost = stream.vhost && stream.vhost !== "__defaultVhost__" ? `?vhost=${encodeURIComponent(stream.vhost)}` : "";
  const server = `rtmp://${authority}/${stream.app}`;
  const here = (ending) => `${location.origin}${path(stream, ending)}`;
  return {
    server,
    key: `${stream.name}${vhost}`,
    ffmpeg: `ffmpeg -re -i FILE -c copy -f flv "${server}/${stream.name}${vhost}"`,
    plays: [
      ["RTMP", `${server}/${stream.name}${vhost}`],
      ["HTTP-FLV", here(".flv")],
      ["HLS", here(".m3u8")],
      ["fMP4", here(".mp4")],
      ["MPEG-TS", here(".ts")],
    ],
  };
}

// Puts text into a code element and a button beside it.
export function fill(id, text) {
  const code = document.querySelector(`#${id}`);
  code.textContent = text;
  if (!code.parentElement.querySelector("button")) {
    code.parentElement.append(copyable(code, { copy: say("copy"), copied: say("copied") }));
  }
}

export function list(container, plays) {
  container.replaceChildren(...plays.flatMap(([name, url]) => {
    const code = element("code", { text: url });
    return [
      element("h3", { text: name }),
      element("div", { class: "copy" }, code, copyable(code, { copy: say("copy"), copied: say("copied") })),
    ];
  }));
}
