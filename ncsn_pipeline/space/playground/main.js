// The page: its parts put together, the buttons, and a loop of frames that moves the particles while anybody looks.

const LIVE = new Set(["shading", "contours", "arrows", "trails", "repeat", "speed"]); // the others begin a new run
const SAID_EVERY = 150; // milliseconds between two looks at the numbers
const STEPPING_TIME = 14; // milliseconds of a frame that steps may take, or half of it where frames take long
const HELD_FOR = 30; // seconds that the particles go on after the end, or
const REPEATED_AFTER = 4; // before the next run, where runs repeat

class Playground {
  constructor(root) {
    this.root = root;
    this.settings = readQuery(new URLSearchParams(location.search));
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
    this.watchThePage();
    this.restart();
  }

  // Frames are drawn where they are seen; size and colours are the page's.
  watchThePage() {
    const look = () => {
      this.worn = true;
      this.schedule();
    };
    new ResizeObserver(look).observe(this.root);
    const theme = new MutationObserver(look);
    for (const element of [document.documentElement, document.body]) {
      theme.observe(element, { attributes: true, attributeFilter: ["class", "style"] });
    }
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.schedule();
    }).observe(this.root.querySelector(".views"));
    document.addEventListener("visibilitychange", () => this.schedule());
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
    this.moment = null;
    this.chains.retune(this.tuning());
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
    const strokes = this.settings.strokes ?? [];
    if (strokes.length >= MOST_STROKES) {
      this.numbers.say(`${MOST_STROKES} strokes are the most: undo one, or clear them.`);
      this.schedule();
      return;
    }
    this.settings.strokes = addStroke(strokes, line);
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
    this.bars.setGroups(this.scene.mixture.shares, settings.particles);
    this.chains = new Chains(this.chainSettings());
    this.recording = new Recording(this.chains);
    this.moment = this.average = null;
    this.numbers.showAverage(null);
    this.owed = 0;
    this.ended = false;
    this.numbers.say("");
    for (const view of Object.values(this.views)) view.clearTrails();
    this.showSettings();
    // Who asked for less motion sees where the run ends.
    this.jumping = this.still && !this.playing;
    this.count();
  }

  chainSettings() {
    const { particles, seed } = this.settings;
    return { mixture: this.scene.mixture, ...this.tuning(), particles, seed };
  }

  // Shows the last run as it was at a step; the run goes on from where it is.
  lookBack(step) {
    this.playing = this.resting = this.jumping = false;
    this.moment = this.recording.at(step, this.chains);
    for (const view of Object.values(this.views)) view.clearTrails();
    this.count();
    this.schedule();
  }

  act(action) {
    const { settings } = this;
    const random = (low, high) => low + (high - low) * Math.random();
    if (action !== "average") Object.assign(this, { moment: null, jumping: false });
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
    } else if (action === "undo" || action === "clear") {
      const left = action === "undo" ? (settings.strokes ?? []).slice(0, -1) : [];
      settings.strokes = left.length ? left : null;
      this.changed("strokes");
    } else if (action === "average") {
      this.average ??= new Average(this.chainSettings(), this.scene, settings.seed);
    } else if (action === "defaults") {
      Object.assign(settings, DEFAULTS);
      this.changed("density");
    }
    this.last = this.frames = undefined;
    this.count();
    this.schedule();
  }

  drop(x, y) {
    this.moment = null;
    this.wake();
    this.chains.drop(x, y);
    this.count();
    this.schedule();
  }

  // Takes steps for as long as there is time; returns how many.
  advance(steps, time = STEPPING_TIME) {
    const until = performance.now() + time;
    let taken = 0;
    while (taken < steps && (taken === 0 || performance.now() < until)) {
      this.chains.step();
      this.recording.keep(this.chains);
      taken++;
      if (this.chains.finished && !this.ended) this.end();
    }
    return taken;
  }

  end() {
    this.ended = true;
    this.endedAt = performance.now();
    this.count(this.endedAt, true);
  }

  count(now = performance.now(), ending = false) {
    this.countedAt = now;
    this.numbers.show(this.moment ?? this.chains, this.scene, this);
    if (this.ended && !this.moment) this.numbers.sayEnd(this.chains, this.scene, ending);
  }

  // Frames

  schedule() {
    if (this.scheduled || !this.seen || document.hidden) return;
    this.scheduled = true;
    requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    this.scheduled = false;
    if (!this.seen || document.hidden) {
      this.last = this.frames = undefined;
      return;
    }
    if (this.worn) for (const view of Object.values(this.views)) view.fit();
    this.worn = false;
    const before = this.chains.stepsTaken;
    if (this.playing) this.play(now);
    else if (this.jumping && this.jump()) return;
    const shown = this.moment ?? this.chains;
    for (const [name, view] of Object.entries(this.views)) {
      if (!view.size) continue;
      view.paint(this.scene, name === "plain" ? shown.sigma : shown.annealedSigma, this.settings);
      const moved = !this.moment && shown.stepsTaken !== before;
      view.draw(shown[name].points, shown.dropped, this.settings.trails, moved);
      if (this.pointer.line) view.drawLine(this.pointer.line);
    }
    if (this.averaging) this.averageFor(STEPPING_TIME);
    if (this.playing || this.averaging) this.schedule();
  }

  get averaging() {
    return Boolean(this.average && !this.average.finished);
  }

  averageFor(time) {
    const known = this.average.ends.length;
    this.average.advance(performance.now() + time);
    if (this.average.ends.length > known) this.numbers.showAverage(this.average);
  }

  // Towards the end in slices, none of which is drawn; returns whether it is still on its way.
  jump() {
    this.advance(this.chains.totalSteps - this.chains.stepsTaken);
    this.jumping = !this.ended;
    if (this.jumping) this.schedule();
    return this.jumping;
  }

  play(now) {
    const passed = this.last === undefined ? 0 : Math.min(now - this.last, 200);
    this.last = now;
    this.timeFrames(now);
    this.owed += (passed / 1000) * this.settings.speed;
    const whole = Math.floor(this.owed);
    if (whole) {
      const taken = this.advance(whole, Math.max(STEPPING_TIME, passed / 2));
      this.owed = taken < whole ? 0 : this.owed - taken; // a slow machine is slower, it does not catch up
    }
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

  timeFrames(now) {
    this.frames ??= { since: now, number: 0 };
    this.frames.number++;
    if (now - this.frames.since < 1000) return;
    this.rate = (1000 * (this.frames.number - 1)) / (now - this.frames.since);
    this.frames = { since: now, number: 1 };
  }
}
