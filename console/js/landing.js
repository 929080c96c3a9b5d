// The first page: the stream that is there, and how to publish another.

import { addresses, fill } from "./addresses.js";
import { get } from "./api.js";
import { page } from "./format.js";
import { begin } from "./i18n.js";
import * as lists from "./lists.js";
import { Player } from "./player.js";

const LOOK_MS = 2000;

begin(() => look());
const player = new Player(document.querySelector("#stage"));
const button = document.querySelector("#statistics");
button.addEventListener("click", () => {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  player.statistics(on);
});
let playing = null;

const show = (found) => {
  const same = playing && found && ["vhost", "app", "name"].every((part) => playing[part] === found[part]);
  document.querySelector("#nobody").hidden = Boolean(found);
  if (!found || same) return;
  playing = found;
  document.querySelector("#which").textContent = `${found.app}/${found.name}`;
  document.querySelector("#details").href = page(found);
  player.play(found, "mp4");
};

// What people may see without the API: the server tells which streams it serves over HTTP.
async function look() {
  let streams = [];
  try {
    ({ streams } = await get("streams"));
    streams = streams.filter((stream) => stream.publish.active);
    lists.streams(document.querySelector("#streams"), streams);
  } catch {
    // The API may be closed to this place; the demo stream is tried all the same.
    streams = playing ? [playing] : [{ vhost: "__defaultVhost__", app: "live", name: "demo" }];
    document.querySelector("#streams").closest("section").hidden = true;
  }
  if (!playing || !streams.some((stream) => stream.name === playing.name && stream.app === playing.app)) {
    show(streams.find((stream) => stream.name === "demo") ?? streams[0]);
  }
}

const mine = await addresses({ vhost: "", app: "live", name: "mine" });
fill("server", mine.server);
fill("key", mine.key);
fill("ffmpeg", mine.ffmpeg);
fill("plays", `${location.origin}/console/stream.html?app=live&stream=mine`);
await look();
setInterval(look, LOOK_MS);
