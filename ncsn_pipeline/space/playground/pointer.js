// The pointer in a view: a click drops particles, or, where the density is drawn, a stroke adds to it.

class Pointer {
  // `drawing()` says which of the two; `drop(x, y)`, `moved()` and `drawn(line)` are called with what was done.
  constructor({ drawing, drop, moved, drawn }) {
    Object.assign(this, { drawing, drop, moved, drawn });
    this.line = null;
  }

  listen(view) {
    const { canvas } = view;
    canvas.addEventListener("click", (event) => {
      if (!this.drawing()) this.drop(...view.toPlane(event));
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.drawing() || event.button !== 0 || !event.isPrimary) return;
      canvas.setPointerCapture(event.pointerId);
      this.line = [view.toPlane(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.line || !event.isPrimary) return;
      const [[x, y], [lastX, lastY]] = [view.toPlane(event), this.line.at(-1)];
      if (Math.hypot(x - lastX, y - lastY) > 0.1) this.line.push([x, y]);
      this.moved();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        if (!event.isPrimary) return; // a second finger
        const { line } = this;
        this.line = null;
        if (line) this.drawn(line);
      });
    }
  }
}
