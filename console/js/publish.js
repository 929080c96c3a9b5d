// How to publish: addresses for OBS, ffmpeg and players, and a code for a phone.

import { addresses, fill, list } from "./addresses.js";
import { get } from "./api.js";
import { element } from "./format.js";
import { begin } from "./i18n.js";

const place = (id) => document.querySelector(`#${id}`);
const query = new URLSearchParams(location.search);
for (const name of ["app", "stream"]) if (query.get(name)) place(name).value = query.get(name);

async function vhosts() {
  let names = ["__defaultVhost__"];
  try {
    names = (await get("vhosts")).vhosts.filter((vhost) => vhost.enabled).map((vhost) => vhost.name);
  } catch { /* the API may be closed to this place */ }
  place("vhost").replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
  if (names.includes(query.get("vhost"))) place("vhost").value = query.get("vhost");
}

async function show() {
  const form = place("names");
  if (!form.checkValidity()) return;
  const stream = { vhost: place("vhost").value, app: place("app").value || "live", name: place("stream").value || "mine" };
  const made = await addresses(stream);
  fill("server", made.server);
  fill("key", made.key);
  fill("ffmpeg", made.ffmpeg);
  list(place("urls"), made.plays);
  const watch = `${location.origin}/console/stream.html?${new URLSearchParams({ vhost: stream.vhost, app: stream.app, stream: stream.name })}`;
  place("qr").src = `/console/qr.svg?text=${encodeURIComponent(watch)}`;
  place("qr-text").textContent = watch;
}

begin(show);
await vhosts();
await show();
place("names").addEventListener("input", show);
place("names").addEventListener("submit", (event) => event.preventDefault());
