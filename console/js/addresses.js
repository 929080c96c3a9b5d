// Addresses under which a stream is published and played, with buttons that copy them.

import { copyable, element, path } from "./format.js";
import { say } from "./i18n.js";

const facts = new Map();

// Where the server takes RTMP, and what a vhost serves over HTTP: told by the server itself.
async function about(vhost) {
  const query = vhost ? `?vhost=${encodeURIComponent(vhost)}` : "";
  if (!facts.has(query)) {
    facts.set(query, fetch(`/console/server.json${query}`).then((answer) => answer.json()).catch(() => ({})));
  }
  return facts.get(query);
}

export async function addresses(stream) {
  const { rtmp_port: port = 1935, serves = [] } = await about(stream.vhost);
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
      ...[["HTTP-FLV", ".flv"], ["HLS", ".m3u8"], ["fMP4", ".mp4"], ["MPEG-TS", ".ts"]]
        .filter(([, ending]) => serves.includes(ending))
        .map(([name, ending]) => [name, here(ending)]),
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
