// The processes as a living picture: who is there, what flows between them, and what happens to them.

import { bytes, duration, element, rate } from "./format.js";
import { say } from "./i18n.js";

const WIDTH = 940;
const ROW = 92;
const BOX = { width: 196, height: 74 };
const COLUMNS = { encoders: 8, sources: 196, readers: 476, viewers: 790 };
const MASTER = 66;

const name = (process) => `${process.role}#${process.slot}`;

function box(x, y, process, facts, reborn) {
  const title = `${name(process)} · ${say(process.state)}`;
  return element("svg:g", {},
    element("svg:title", { text: `${title} · pid ${process.pid}` }),
    element("svg:rect", {
      class: `box ${process.state}${reborn ? " reborn" : ""}`, x, y, width: BOX.width, height: BOX.height, rx: 9,
    }),
    element("svg:text", { x: x + 10, y: y + 20, text: title, "font-weight": 600 }),
    ...facts.map((fact, at) => element("svg:text", { class: "faint", x: x + 10, y: y + 38 + at * 15, text: fact })));
}

function facts(process) {
  const lines = [
    `pid ${process.pid} · ${duration(process.uptime_ms)}${process.restarts ? ` · ↻ ${process.restarts}` : ""}`,
    `CPU ${process.cpu_percent.toFixed(process.cpu_percent < 10 ? 1 : 0)} % · ${bytes(process.memory_bytes)}`,
  ];
  if (process.connections) lines.push(`${process.connections} ${say("connections")}`);
  return lines;
}

// A line with what flows along it.
function flow(x1, y1, x2, y2, kbps, label) {
  const middle = (x1 + x2) / 2;
  const line = `M ${x1} ${y1} C ${middle} ${y1}, ${middle} ${y2}, ${x2} ${y2}`;
  const speed = kbps <= 0 ? "still" : kbps > 20000 ? "fast" : "";
  return [
    element("svg:path", { class: "wire", d: line }),
    element("svg:path", { class: `flow ${speed}`, d: line }),
    label ? element("svg:text", { class: "faint", x: middle, y: (y1 + y2) / 2 - 6, "text-anchor": "middle", text: label }) : null,
  ].filter(Boolean);
}

// Draws all processes into a container. `reborn` has the names of those that were just started again.
export function draw(container, processes, reborn) {
  const of = (...roles) => processes.filter((process) => roles.includes(process.role));
  const master = of("master")[0];
  const sources = of("backsource");
  const readers = of("stream", "http");
  const others = of("api", "ingest");
  const rows = Math.max(sources.length, readers.length, 1);
  const top = master ? MASTER + BOX.height : 16;
  const height = top + rows * ROW + (others.length > 0 ? ROW : 0) + 12;
  const middle = (list, at) => top + ((at + 0.5) * rows * ROW) / Math.max(list.length, 1) - BOX.height / 2;
  const parts = [];
  const incoming = sources.reduce((sum, process) => sum + process.kbps.recv_30s, 0);
  const publishers = sources.reduce((sum, process) => sum + process.connections, 0);
  const center = top + (rows * ROW) / 2;
  parts.push(...flow(COLUMNS.encoders + 96, center, COLUMNS.sources, center, incoming, rate(incoming)));
  parts.push(element("svg:text", { x: COLUMNS.encoders, y: center - 4, text: say("encoders"), "font-weight": 600 }));
  parts.push(element("svg:text", { class: "faint", x: COLUMNS.encoders, y: center + 14, text: String(publishers) }));
  sources.forEach((source, at) => {
    const y = middle(sources, at);
    readers.forEach((reader, to) => {
      if (source.state === "dead" || reader.state === "dead") return;
      const target = middle(readers, to) + BOX.height / 2;
      parts.push(...flow(COLUMNS.sources + BOX.width, y + BOX.height / 2, COLUMNS.readers, target, reader.kbps.send_30s, ""));
    });
    parts.push(box(COLUMNS.sources, y, source, facts(source), reborn.has(name(source))));
  });
  readers.forEach((reader, at) => {
    const y = middle(readers, at);
    const out = reader.kbps.send_30s;
    parts.push(...flow(COLUMNS.readers + BOX.width, y + BOX.height / 2, COLUMNS.viewers, y + BOX.height / 2, out, rate(out)));
    parts.push(box(COLUMNS.readers, y, reader, facts(reader), reborn.has(name(reader))));
    const who = reader.role === "http" ? "http_viewers" : "rtmp_viewers";
    parts.push(element("svg:text", { x: COLUMNS.viewers + 8, y: y + BOX.height / 2, text: say(who), "font-weight": 600 }));
    parts.push(element("svg:text", { class: "faint", x: COLUMNS.viewers + 8, y: y + BOX.height / 2 + 17, text: String(reader.connections) }));
  });
  others.forEach((other, at) => {
    const x = COLUMNS.sources + at * (BOX.width + 16);
    parts.push(box(x, top + rows * ROW, other, facts(other), reborn.has(name(other))));
  });
  if (master) {
    const x = COLUMNS.sources + 140;
    const from = { x: x + BOX.width / 2, y: 8 + BOX.height };
    for (const [list, column] of [[sources, COLUMNS.sources], [readers, COLUMNS.readers]]) {
      const to = middle(list, 0);
      parts.unshift(element("svg:path", {
        class: "control", d: `M ${from.x} ${from.y} L ${column + BOX.width / 2} ${to}`,
      }));
    }
    parts.push(box(x, 8, master, facts(master), reborn.has(name(master))));
  }
  container.replaceChildren(element("svg:svg",
    { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": say("processes") }, ...parts));
}

// How many connections a death has cut.
function cut(count) {
  return count === 1 ? say("fate_one") : say("fate", { count });
}

// What has changed from one list to the next, in words.
export function changes(before, now) {
  const told = [];
  if (before.length === 0) return { told, reborn: new Set() };
  const reborn = new Set();
  const is = (a) => (b) => name(a) === name(b) && a.pid === b.pid;
  for (const process of now) {
    const words = { name: name(process), pid: process.pid };
    const known = before.find(is(process));
    if (known) {
      if (process.state === known.state) continue;
      if (process.state === "dead") {
        told.push(say("ended", words));
        if (known.connections > 0) told.push(cut(known.connections));
      } else if (process.state === "hung") {
        told.push(say("hangs", words));
      } else if (process.state === "draining") {
        told.push(say("drains", words));
      }
      continue;
    }
    // Another process of that name. While the one before is there and drains, it is no successor of a dead one.
    const earlier = before.find((each) => name(each) === name(process) && !now.some(is(each)));
    // A place that nobody had yet (pid 0) is taken for the first time.
    if (!earlier || earlier.pid === 0 || earlier.state === "draining" || process.state === "dead") continue;
    reborn.add(name(process));
    const end = process.last_end?.pid === earlier.pid ? process.last_end : null;
    told.push(end ? say("restarted", { ...words, old: earlier.pid, how: end.how }) : say("restarted_plain", words));
    if (earlier.state !== "dead" && earlier.connections > 0) told.push(cut(earlier.connections));
  }
  return { told, reborn };
}
