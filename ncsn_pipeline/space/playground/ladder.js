// The ladder: its levels over their number, on a logarithmic axis. Every level is a slider: dragged, or moved by the
// arrow keys once it has the focus. The ends move the whole ladder, the levels between them only themselves.

const PLOT = { width: 270, height: 190, left: 34, right: 12, top: 12, bottom: 30 };
const AXIS = { low: 0.04, high: 25 };
const TICKS = [0.1, 1, 10];
const CLOSEST = 1.02; // neighbouring levels differ by at least this factor

function svg(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

class LadderPlot {
  // `moving(i, sigma)` is called while level i is moved, `moved()` after.
  constructor(element, moving, moved) {
    this.element = element;
    this.moving = moving;
    this.moved = moved;
    this.dots = [];
    this.drawAxes();
    this.element.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) this.element.addEventListener(end, () => this.release());
  }

  drawAxes() {
    const { width, height, left, right, bottom } = PLOT;
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const tick of TICKS) {
      const y = this.y(tick);
      svg("line", { x1: left, x2: width - right, y1: y, y2: y, class: "grid" }, this.element);
      svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, this.element).textContent = tick;
    }
    const middle = (left + width - right) / 2;
    const caption = svg("text", { x: middle, y: height - 6, "text-anchor": "middle" }, this.element);
    caption.textContent = "level";
    this.first = svg("text", { y: height - 6, "text-anchor": "middle" }, this.element);
    this.last = svg("text", { y: height - 6, "text-anchor": "middle" }, this.element);
    this.single = svg("line", { x1: left, x2: width - right, class: "single" }, this.element);
    this.line = svg("polyline", { class: "levels" }, this.element);
    this.now = svg("circle", { r: 9, class: "now" }, this.element);
    this.handles = svg("g", {}, this.element);
  }

  x(i) {
    const { width, left, right } = PLOT;
    const room = width - left - right - 24;
    return left + 12 + (this.sigmas.length > 1 ? (i / (this.sigmas.length - 1)) * room : room / 2);
  }

  y(sigma) {
    const { height, top, bottom } = PLOT;
    const t = Math.log(AXIS.high / sigma) / Math.log(AXIS.high / AXIS.low);
    return top + t * (height - top - bottom);
  }

  sigmaAt(y) {
    const { height, top, bottom } = PLOT;
    return AXIS.high * (AXIS.low / AXIS.high) ** ((y - top) / (height - top - bottom));
  }

  update(sigmas, single) {
    this.sigmas = sigmas;
    while (this.dots.length > sigmas.length) this.dots.pop().remove();
    while (this.dots.length < sigmas.length) this.dots.push(this.addDot(this.dots.length));
    this.dots.forEach((dot, i) => {
      dot.setAttribute("transform", `translate(${this.x(i)} ${this.y(sigmas[i])})`);
      dot.classList.toggle("end", i === 0 || i === sigmas.length - 1);
      const { low, high } = this.bounds(i);
      const values = { valuemin: low, valuemax: high, valuenow: sigmas[i] };
      for (const [name, value] of Object.entries(values)) dot.setAttribute(`aria-${name}`, value.toPrecision(3));
    });
    this.line.setAttribute("points", Array.from(sigmas, (sigma, i) => `${this.x(i)},${this.y(sigma)}`).join(" "));
    for (const name of ["y1", "y2"]) this.single.setAttribute(name, this.y(single));
    this.first.textContent = 1;
    this.first.setAttribute("x", this.x(0));
    this.last.textContent = sigmas.length > 1 ? sigmas.length : "";
    this.last.setAttribute("x", this.x(sigmas.length - 1));
    this.setFocusable(Math.min(this.focusable ?? 0, sigmas.length - 1));
  }

  // Marks the level that the annealed particles are at.
  mark(level) {
    const shown = Math.min(level, this.sigmas.length - 1); // a ladder that is being shortened has not begun its run
    this.now.setAttribute("cx", this.x(shown));
    this.now.setAttribute("cy", this.y(this.sigmas[shown]));
  }

  // Between which sigmas a level can move.
  bounds(i) {
    const last = this.sigmas.length - 1;
    return {
      // Never beyond where it is: on a crowded ladder the neighbours are closer than that.
      low: i === 0 ? RANGES.max.min : i === last ? RANGES.min.min : Math.min(this.sigmas[i + 1] * CLOSEST, this.sigmas[i]),
      high: i === 0 ? RANGES.max.max : i === last ? RANGES.min.max : Math.max(this.sigmas[i - 1] / CLOSEST, this.sigmas[i]),
    };
  }

  addDot(i) {
    const dot = svg("g", { class: "dot", role: "slider", "aria-orientation": "vertical" }, this.handles);
    dot.setAttribute("aria-label", `Sigma of level ${i + 1}`);
    svg("circle", { r: 13, class: "grip" }, dot);
    svg("circle", { r: 4.5 }, dot);
    dot.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary) return;
      this.dragged = i;
      this.setFocusable(i);
      dot.focus({ preventScroll: true });
      this.element.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    dot.addEventListener("keydown", (event) => this.key(event, i));
    return dot;
  }

  // One stop of the tab key for all levels.
  setFocusable(chosen) {
    this.focusable = chosen;
    this.dots.forEach((dot, i) => dot.setAttribute("tabindex", i === chosen ? 0 : -1));
  }

  key(event, i) {
    const sideways = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: this.dots.length - 1 }[event.key];
    const factor = { ArrowUp: 1.05, ArrowDown: 1 / 1.05, PageUp: 1.5, PageDown: 1 / 1.5 }[event.key];
    if (sideways !== undefined) {
      const next = clamp(sideways, 0, this.dots.length - 1);
      this.setFocusable(next);
      this.dots[next].focus();
    } else if (factor) {
      this.move(i, this.sigmas[i] * factor);
      this.moved();
    } else return;
    event.preventDefault();
  }

  drag(event) {
    if (this.dragged === undefined || !event.isPrimary) return;
    const box = this.element.getBoundingClientRect();
    this.move(this.dragged, this.sigmaAt(((event.clientY - box.top) / box.height) * PLOT.height));
  }

  release() {
    if (this.dragged === undefined) return;
    this.dragged = undefined;
    this.moved();
  }

  move(i, sigma) {
    const { low, high } = this.bounds(i);
    this.moving(i, clamp(sigma, low, high));
  }
}
