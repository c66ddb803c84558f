// The loop of frames: it goes on while somebody looks, and knows how many there are per second.

const MOST_PASSED = 200; // milliseconds that one frame stands for, however long it took

class Frames {
  // `views`: canvases, fitted where size or colours of the page have changed. `draw(now)` draws a frame and returns
  // whether another one is due.
  constructor(root, views, draw) {
    Object.assign(this, { views, draw });
    const look = () => {
      this.worn = true;
      this.schedule();
    };
    new ResizeObserver(look).observe(root);
    const theme = new MutationObserver(look);
    for (const element of [document.documentElement, document.body]) {
      theme.observe(element, { attributes: true, attributeFilter: ["class", "style"] });
    }
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.schedule();
    }).observe(root.querySelector(".views"));
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  get looking() {
    return Boolean(this.seen) && !document.hidden;
  }

  schedule() {
    if (this.scheduled || !this.looking) return;
    this.scheduled = true;
    requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    this.scheduled = false;
    if (!this.looking) {
      this.forget();
      return;
    }
    if (this.worn) for (const view of this.views) view.fit();
    this.worn = false;
    if (this.draw(now)) this.schedule();
  }

  // What comes next is no successor of the last frame.
  forget() {
    this.last = this.counted = undefined;
  }

  // Milliseconds since the last call, one for each frame in which something moves; 0 for the first.
  passed(now) {
    const passed = this.last === undefined ? 0 : Math.min(now - this.last, MOST_PASSED);
    this.last = now;
    this.counted ??= { since: now, number: 0 };
    this.counted.number++;
    if (now - this.counted.since >= 1000) {
      this.rate = (1000 * (this.counted.number - 1)) / (now - this.counted.since);
      this.counted = { since: now, number: 1 };
    }
    return passed;
  }
}
