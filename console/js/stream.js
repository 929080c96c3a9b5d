// One stream: a player, its figures, its newest key frame, its addresses and its clients. Parameters are those of the reference's
// player page: server, port, vhost, app, stream, autostart; and kind: mp4, flv or hls.

import { addresses, list } from "./addresses.js";
import { get } from "./api.js";
import { audio, bytes, duration, element, path, rate, tracks, video } from "./format.js";
import { begin, say } from "./i18n.js";
import * as lists from "./lists.js";
import { KINDS, Player, works } from "./player.js";

const LOOK_MS = 2000;
const query = new URLSearchParams(location.search);
const place = (id) => document.querySelector(`#${id}`);
const given = (name, otherwise) => (query.get(name) ?? "").trim() || otherwise;

const server = given("server", location.hostname);
const vhost = given("vhost", "__defaultVhost__");
const stream = {
  // The reference's pages say the server's name where no vhost is meant.
  vhost: vhost === server || vhost === location.hostname ? "__defaultVhost__" : vhost,
  app: given("app", "live"),
  name: given("stream", "livestream").replace(/\.(flv|m3u8|mp4|ts)$/, ""),
};
let kind = KINDS.includes(query.get("kind")) ? query.get("kind") : KINDS.find(works) ?? "mp4";
const isHere = server === location.hostname;

place("title").textContent = `${stream.app}/${stream.name}`;
document.title = `${stream.app}/${stream.name} · SRS`;
const player = new Player(place("stage"));

function chooser() {
  place("kinds").setAttribute("aria-label", say("player"));
  place("kinds").replaceChildren(...KINDS.map((each) => element("button", {
    type: "button", text: say(`kind_${each}`), "data-kind": each, "aria-pressed": String(each === kind), disabled: !works(each),
    onclick: () => {
      kind = each;
      chooser();
      player.play(stream, kind);
    },
  })));
}

// The newest key frame, decoded by the browser and drawn.
async function snapshot() {
  const source = element("video", { muted: true, playsinline: true, preload: "auto" });
  source.muted = true;
  const url = path(stream, ".mp4");
  source.src = `${url}${url.includes("?") ? "&" : "?"}snapshot=1`;
  await new Promise((done) => {
    source.addEventListener("loadeddata", done, { once: true });
    source.addEventListener("error", done, { once: true });
  });
  if (source.videoWidth > 0) {
    const canvas = place("snapshot");
    [canvas.width, canvas.height] = [source.videoWidth, source.videoHeight];
    canvas.getContext("2d").drawImage(source, 0, 0);
    canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
  }
  source.removeAttribute("src");
  source.load();
}

function facts(found) {
  const rows = [
    [say("state"), found.publish.active ? say("live") : say("waiting")],
    [say("video"), video(found)], [say("audio"), audio(found)],
    // The first of each kind stand above.
    ...(found.tracks ?? []).length > 2 ? [[say("tracks"), tracks(found).join("\n")]] : [],
    ...(found.left_out ?? []).length > 0 ? [[say("left_out"), found.left_out.join("\n")]] : [],
    [say("viewers"), String(found.clients - (found.publish.active ? 1 : 0))],
    [say("live_for"), duration(found.live_ms)],
    [say("rate_in"), rate(found.kbps.recv_30s)], [say("rate_out"), rate(found.kbps.send_30s)],
    [say("received"), bytes(found.recv_bytes)], [say("sent"), bytes(found.send_bytes)],
    [say("ring"), bytes(found.ring_bytes)], [say("process"), found.process],
  ];
  place("details").replaceChildren(element("table", {}, element("tbody", {}, ...rows.map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row", text: name }), element("td", { class: "lines", text: value }))))));
}

const is = (each) => each.vhost === stream.vhost && each.app === stream.app && each.name === stream.name;

async function look() {
  try {
    const [{ streams }, { clients }] = await Promise.all([get("streams"), get("clients")]);
    const found = streams.find(is);
    if (found) facts(found);
    else place("details").replaceChildren(element("p", { class: "empty", text: say("nobody") }));
    const full = `${stream.app}/${stream.name}`;
    const watching = clients.filter((client) => client.vhost === stream.vhost && client.stream === full);
    lists.clients(place("clients"), watching, () => look());
  } catch (cause) {
    place("details").replaceChildren(element("p", { class: "error", text: cause.message }));
  }
}

async function show() {
  chooser();
  list(place("urls"), (await addresses(stream)).plays);
}

begin(() => {
  show();
  look();
});
place("statistics").addEventListener("click", () => {
  const on = place("statistics").getAttribute("aria-pressed") !== "true";
  place("statistics").setAttribute("aria-pressed", String(on));
  player.statistics(on);
});
place("renew").addEventListener("click", snapshot);
await show();
if (isHere) {
  if (!["false", "0", "off"].includes(query.get("autostart"))) player.play(stream, kind);
  snapshot();
  look();
  setInterval(() => document.visibilityState === "visible" && look(), LOOK_MS);
} else {
  const host = server.includes(":") && !server.startsWith("[") ? `[${server}]` : server;
  const there = `${location.protocol}//${host}:${given("http_port", given("hls_port", location.port || "8080"))}`;
  place("elsewhere").hidden = false;
  place("elsewhere").replaceChildren(`${say("elsewhere")} `, element("a", { href: `${there}/console/stream.html${location.search}`, text: there }));
}
