// A small live chart: the newest values of one number, as a line.

import { element } from "./format.js";

const POINTS = 60;

export class Spark {
  constructor() {
    this.values = [];
    this.line = element("svg:polyline", { class: "spark" });
    this.area = element("svg:polygon", { class: "spark-area" });
    this.svg = element("svg:svg", { viewBox: `0 0 ${POINTS - 1} 30`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.area, this.line);
  }

  push(value) {
    this.values.push(value);
    if (this.values.length > POINTS) this.values.shift();
    const most = Math.max(...this.values, 1);
    const first = POINTS - this.values.length;
    const points = this.values.map((each, at) => `${first + at},${(29 - (each / most) * 27).toFixed(2)}`);
    this.line.setAttribute("points", points.join(" "));
    this.area.setAttribute("points", `${first},30 ${points.join(" ")} ${POINTS - 1},30`);
  }
}
