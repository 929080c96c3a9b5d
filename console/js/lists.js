// Tables of streams and clients.

import { change } from "./api.js";
import { audio, bytes, duration, element, page, rate, video } from "./format.js";
import { say } from "./i18n.js";

function table(columns, rows) {
  const head = columns.map(([title, number]) => element("th", { class: number ? "number" : null, scope: "col", text: title }));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

const cell = (text, number) => element("td", { class: number ? "number" : null, text });

export function streams(container, all) {
  if (all.length === 0) {
    container.replaceChildren(element("p", { class: "empty", text: say("no_streams") }));
    return;
  }
  const rows = all.map((stream) => {
    const viewers = stream.clients - (stream.publish.active ? 1 : 0);
    const state = stream.publish.active ? ["good", say("live")] : ["warn", say("waiting")];
    const vhost = stream.vhost === "__defaultVhost__" ? "" : `${stream.vhost}/`;
    return element("tr", {},
      element("td", {}, element("a", { href: page(stream), text: `${vhost}${stream.app}/${stream.name}` })),
      element("td", {}, element("span", { class: `badge ${state[0]}`, text: state[1] })),
      cell(video(stream)), cell(audio(stream)), cell(viewers, true),
      cell(stream.publish.active ? duration(stream.live_ms) : "–", true),
      cell(rate(stream.kbps.recv_30s), true), cell(rate(stream.kbps.send_30s), true), cell(bytes(stream.ring_bytes), true));
  });
  container.replaceChildren(table([
    [say("stream")], [say("state")], [say("video")], [say("audio")], [say("viewers"), true], [say("live_for"), true],
    [say("rate_in"), true], [say("rate_out"), true], [say("ring"), true],
  ], rows));
}

async function kick(client, button, told) {
  button.disabled = true;
  try {
    if (await change("DELETE", `clients/${client.id}`)) told(say("kicked"));
  } catch (cause) {
    told(say("kick_failed", { why: cause.message }));
  }
  button.disabled = false;
}

// `told` is called with a sentence when something came of a kick.
export function clients(container, all, told) {
  if (all.length === 0) {
    container.replaceChildren(element("p", { class: "empty", text: say("no_clients") }));
    return;
  }
  // A row that has the focus keeps it over the next list.
  const focused = document.activeElement?.dataset?.client;
  const rows = all.map((client) => {
    const button = element("button", {
      type: "button", class: "danger", text: say("kick"), "data-client": client.id, "aria-label": `${say("kick")} ${client.id}`,
    });
    button.addEventListener("click", () => kick(client, button, told));
    return element("tr", {},
      cell(client.id, true), cell(client.type), cell(client.stream || "–"), cell(client.ip), cell(client.process),
      cell(duration(client.alive * 1000), true), cell(bytes(client.send_bytes), true), cell(bytes(client.recv_bytes), true),
      cell(`${client.lag_ms} ms`, true), cell(client.dropped, true), element("td", {}, button));
  });
  container.replaceChildren(table([
    [say("id"), true], [say("type")], [say("stream")], [say("address")], [say("process")], [say("alive"), true],
    [say("sent"), true], [say("received"), true], [say("lag"), true], [say("dropped"), true], [say("action")],
  ], rows));
  if (focused) container.querySelector(`[data-client="${CSS.escape(focused)}"]`)?.focus();
}
