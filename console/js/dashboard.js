// The console: processes, streams, clients and what happens, live.

import { askToken, get } from "./api.js";
import { bytes, duration, element, rate } from "./format.js";
import { begin, say } from "./i18n.js";
import * as lists from "./lists.js";
import * as processes from "./processes.js";
import { Spark } from "./spark.js";

const LOOK_MS = 1000;
const MOST_EVENTS = 100;
const REBORN_MS = 2400;

const place = (id) => document.querySelector(`#${id}`);
const sparks = { connections: new Spark(), recv: new Spark(), send: new Spark() };
let before = [];
let last = null;
let sums = null;
const reborn = new Map();

function tile(title, value, spark) {
  return element("div", { class: "tile" },
    element("div", { class: "small soft", text: title }), element("div", { class: "value", text: value }), spark?.svg ?? null);
}

function tell(text) {
  const now = new Date();
  const time = now.toLocaleTimeString();
  place("events").querySelector(".empty")?.remove();
  place("events").prepend(element("li", {}, element("time", { datetime: now.toISOString(), text: time }), text));
  while (place("events").children.length > MOST_EVENTS) place("events").lastChild.remove();
}

function trouble(cause) {
  const box = place("trouble");
  box.hidden = !cause;
  if (!cause) return;
  box.replaceChildren(cause.message);
  if (cause.status === 401) {
    box.append(" ", element("button", { type: "button", text: say("give_token"), onclick: () => askToken("").then(look) }));
  }
}

// Rates between two looks: what the API's means over half a minute would show late.
function measure(totals) {
  const now = { at: performance.now(), recv: totals.recv_bytes, send: totals.send_bytes };
  const ms = sums ? now.at - sums.at : 0;
  const of = (name) => (ms > 0 ? Math.max(((now[name] - sums[name]) * 8) / ms, 0) : 0);
  const rates = { recv: of("recv"), send: of("send") };
  sums = now;
  return rates;
}

function show({ list, totals, streams, clients }) {
  const { told, reborn: again } = processes.changes(before, list);
  before = list;
  told.forEach(tell);
  const now = performance.now();
  for (const name of again) reborn.set(name, now);
  for (const [name, at] of reborn) if (now - at > REBORN_MS) reborn.delete(name);
  processes.draw(place("picture"), list, new Set(reborn.keys()));
  const rates = measure(totals);
  sparks.connections.push(totals.connections);
  sparks.recv.push(rates.recv);
  sparks.send.push(rates.send);
  const restarts = list.reduce((sum, process) => sum + process.restarts, 0);
  const master = list.find((process) => process.role === "master");
  place("tiles").replaceChildren(
    tile(say("connections"), String(totals.connections), sparks.connections),
    tile(say("rate_in"), rate(rates.recv), sparks.recv),
    tile(say("rate_out"), rate(rates.send), sparks.send),
    tile(say("streams"), String(totals.streams)),
    tile(say("total_in"), bytes(totals.recv_bytes)),
    tile(say("total_out"), bytes(totals.send_bytes)),
    tile(say("restarts"), String(restarts)),
    tile(say("generation"), String(master?.generation ?? "–")));
  lists.streams(place("streams"), streams);
  lists.clients(place("clients"), clients, (text) => {
    tell(text);
    look();
  });
  place("footer").textContent = master ? `pid ${master.pid} · ${duration(master.uptime_ms)}` : "";
}

let looking = false;

async function look() {
  if (looking) return;
  looking = true;
  try {
    const [{ processes: list, totals }, { streams }, { clients }] =
      await Promise.all([get("processes"), get("streams"), get("clients?count=200")]);
    last = { list, totals, streams, clients };
    trouble(null);
    show(last);
  } catch (cause) {
    trouble(cause);
  }
  looking = false;
}

// The server says at once when something happens to a process or the configuration.
function listen() {
  const events = new EventSource("/console/events");
  events.addEventListener("processes", look);
  events.addEventListener("reload", async () => {
    try {
      const { reload } = await get("reload");
      tell(reload.error ? say("reload_failed", { why: reload.error }) : say("reloaded", reload));
    } catch { /* the next look tells why */ }
    look();
  });
}

begin(() => last && show(last));
place("events").append(element("li", { class: "empty", text: say("no_events") }));
look();
setInterval(() => document.visibilityState === "visible" && look(), LOOK_MS);
listen();
