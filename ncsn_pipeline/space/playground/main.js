// The page: its parts put together, what the buttons do, and what a frame shows.

const LIVE = new Set(["shading", "contours", "arrows", "trails", "repeat", "speed"]); // the others begin a new run
const SAID_EVERY = 150; // milliseconds between two looks at the numbers
const STEPPING_TIME = 14; // milliseconds of a frame that steps may take, or half of it where frames take long
const HELD_FOR = 30; // seconds that the particles go on after the end, or
const REPEATED_AFTER = 4; // before the next run, where runs repeat

class Playground {
  constructor(root) {
    this.root = root;
    this.settings = readQuery(new URLSearchParams(location.search));
    this.lines = this.settings.strokes ?? []; // as drawn, or through the points of the address
    this.pointer = new Pointer({
      drawing: () => this.settings.density === "drawing",
      drop: (x, y) => this.drop(x, y),
      moved: () => this.schedule(),
      drawn: (line) => this.addStroke(line),
    });
    this.views = {};
    for (const name of ["plain", "annealed"]) {
      this.views[name] = new View(root.querySelector(`[data-view="${name}"] canvas`), name);
      this.pointer.listen(this.views[name]);
    }
    this.bars = new Bars(root.querySelector(".bars"));
    this.ladder = new LadderPlot(
      root.querySelector(".ladder-plot"),
      (i, sigma) => this.moveLevel(i, sigma),
      () => this.changed("sigmas"),
    );
    this.numbers = new Numbers(root, this.bars, this.ladder);
    this.controls = new Controls(root, this.settings, (name) => this.changing(name), (name) => this.changed(name));
    for (const button of root.querySelectorAll("[data-action]")) {
      button.addEventListener("click", () => this.act(button.dataset.action));
    }
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.playing = !this.still;
    this.time = root.querySelector("[data-time]");
    this.time.addEventListener("input", () => this.lookBack(Number(this.time.value)));
    this.frames = new Frames(root, Object.values(this.views), (now) => this.draw(now));
    this.restart();
  }

  // Settings

  showSettings() {
    const { settings, root } = this;
    this.controls.show();
    this.ladder.update(ladderOf(settings), settings.sigma);
    this.numbers.showStep(settings.step);
    root.dataset.density = settings.density;
    root.querySelector('[data-for="drawing"]').hidden = settings.density !== "drawing";
    root.querySelector('[data-for="dropping"]').hidden = settings.density === "drawing";
    this.schedule();
  }

  // While a slider or a level is dragged: the density, the arrows and the particles follow; the next run is its own.
  changing(name) {
    this.showSettings();
    if (LIVE.has(name)) return;
    this.run.moment = null;
    this.run.chains.retune(this.tuning());
    this.count();
  }

  tuning() {
    const { sigma, steps, step } = this.settings;
    return { sigma, sigmas: ladderOf(this.settings), stepsPerLevel: steps, stepShare: step };
  }

  changed(name) {
    this.writeAddress();
    if (LIVE.has(name)) this.showSettings();
    else this.restart();
  }

  writeAddress() {
    const url = new URL(location.href);
    writeQuery(url.searchParams, this.settings);
    history.replaceState(history.state, "", url);
  }

  // An end takes the whole ladder along, a level between moves alone.
  moveLevel(i, sigma) {
    const { settings } = this;
    const sigmas = Array.from(ladderOf(settings));
    const end = { 0: "max", [sigmas.length - 1]: "min" }[i];
    if (sigmas.length === 1) settings.max = inRange("max", sigma);
    else if (end) settings[end] = inRange(end, sigma);
    settings.sigmas = end ? null : sigmas.map((other, k) => (k === i ? sigma : other));
    this.changing("sigmas");
  }

  addStroke(line) {
    if (this.lines.length >= MOST_STROKES) {
      this.numbers.say(`${MOST_STROKES} strokes are the most: undo one, or clear them.`);
      this.schedule();
      return;
    }
    this.setLines([...this.lines, line]);
  }

  // Strokes are spaced anew from the lines: each stands as it did before another came, once that is undone.
  setLines(lines) {
    this.lines = lines;
    this.settings.strokes = lines.length ? strokesOf(lines) : null;
    this.changed("strokes");
  }

  // Runs

  // Particles that rest after the end of a run move again when something is done to them.
  wake() {
    this.endedAt = performance.now();
    if (this.resting) this.playing = true;
    this.resting = false;
  }

  restart() {
    const { settings } = this;
    this.wake();
    const density = JSON.stringify([settings.density, settings.strokes]);
    if (density !== this.sceneOf) {
      this.sceneOf = density;
      this.scene = makeScene(mixtureOf(settings));
    }
    const { particles, seed } = settings;
    this.bars.setGroups(this.scene.mixture.shares, particles);
    this.run = new Run({ mixture: this.scene.mixture, ...this.tuning(), particles, seed }, this.scene);
    this.numbers.showAverage(null);
    this.ended = false;
    this.numbers.say("");
    for (const view of Object.values(this.views)) view.clearTrails();
    this.showSettings();
    // Who asked for less motion sees where the run ends.
    this.jumping = this.still && !this.playing;
    this.count();
  }

  // Shows the last run as it was at a step; the run goes on from where it is.
  lookBack(step) {
    this.playing = this.resting = this.jumping = false;
    this.run.lookBack(step);
    for (const view of Object.values(this.views)) view.clearTrails();
    this.count();
    this.schedule();
  }

  act(action) {
    const { settings } = this;
    const random = (low, high) => low + (high - low) * Math.random();
    if (action !== "average") [this.run.moment, this.jumping] = [null, false];
    if (action === "play") {
      if (this.resting) this.wake();
      else this.playing = !this.playing;
      this.endedAt = performance.now();
    } else if (action === "step") {
      this.playing = this.resting = false;
      this.advance(1);
    } else if (action === "restart") this.restart();
    else if (action === "reseed") {
      settings.seed = Math.ceil(random(0, RANGES.seed.max));
      this.changed("seed");
    } else if (action === "drop") this.drop(random(-START, START), random(-START, START));
    else if (action === "scribble") {
      const from = random(0, 2 * Math.PI);
      this.addStroke(arc(12, random(2, 4), from, from + random(2, 4), [random(-5, 5), random(-5, 5)]));
    } else if (action === "undo") this.setLines(this.lines.slice(0, -1));
    else if (action === "clear") this.setLines([]);
    else if (action === "average") {
      this.run.startAverage();
    } else if (action === "defaults") {
      Object.assign(settings, DEFAULTS);
      this.lines = [];
      this.changed("density");
    }
    this.frames.forget();
    this.count();
    this.schedule();
  }

  drop(x, y) {
    this.run.moment = null;
    this.wake();
    this.run.chains.drop(x, y);
    this.count();
    this.schedule();
  }

  advance(steps) {
    this.run.advance(steps, STEPPING_TIME);
    this.noticeTheEnd();
  }

  noticeTheEnd() {
    if (!this.run.chains.finished || this.ended) return;
    this.ended = true;
    this.endedAt = performance.now();
    this.count(this.endedAt, true);
  }

  count(now = performance.now(), ending = false) {
    const { run, scene, playing } = this;
    this.countedAt = now;
    this.numbers.show(run.shown, scene, { playing, rate: this.frames.rate });
    if (this.ended && !run.moment) this.numbers.sayEnd(run.chains, scene, ending);
  }

  // Frames

  schedule() {
    this.frames.schedule();
  }

  // Returns whether another frame is due.
  draw(now) {
    const before = this.run.chains.stepsTaken;
    if (this.playing) this.play(now);
    else if (this.jumping && this.jump()) return true;
    const { run } = this; // a new one where runs repeat
    const { shown } = run;
    for (const [name, view] of Object.entries(this.views)) {
      if (!view.size) continue;
      view.paint(this.scene, name === "plain" ? shown.sigma : shown.annealedSigma, this.settings);
      const moved = !run.moment && shown.stepsTaken !== before;
      view.draw(shown[name].points, shown.dropped, this.settings.trails, moved);
      if (this.pointer.line) view.drawLine(this.pointer.line);
    }
    if (run.averaging && run.averageFor(STEPPING_TIME)) this.numbers.showAverage(run.average);
    return this.playing || run.averaging;
  }

  // Towards the end in slices, none of which is drawn; returns whether it is still on its way.
  jump() {
    this.advance(this.run.chains.totalSteps - this.run.chains.stepsTaken);
    this.jumping = !this.ended;
    return this.jumping;
  }

  play(now) {
    const passed = this.frames.passed(now);
    this.run.keepUp(passed, this.settings.speed, Math.max(STEPPING_TIME, passed / 2));
    this.noticeTheEnd();
    if (!(now - this.countedAt < SAID_EVERY)) this.count(now);
    const held = this.ended ? (now - this.endedAt) / 1000 : 0;
    if (this.settings.repeat && held > REPEATED_AFTER) {
      this.settings.seed = (this.settings.seed % RANGES.seed.max) + 1;
      this.restart();
    } else if (held > HELD_FOR) {
      this.playing = false;
      this.resting = true;
      this.count();
    }
  }
}
