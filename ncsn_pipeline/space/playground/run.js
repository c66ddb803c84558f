// A run of both chains: what is taken of it in the time there is, and looked at again.

class Run {
  // `settings`: of the chains, with the mixture of `scene`.
  constructor(settings, scene) {
    Object.assign(this, { settings, scene, owed: 0, moment: null, average: null });
    this.chains = new Chains(settings);
    this.recording = new Recording(this.chains);
  }

  // The chains as they are, or as they were at the step that is looked at.
  get shown() {
    return this.moment ?? this.chains;
  }

  lookBack(step) {
    this.moment = this.recording.at(step, this.chains);
  }

  // Takes steps for as long as there is time, in milliseconds, and halts where the run ends; returns how many.
  advance(steps, time) {
    const until = performance.now() + time;
    const { finished } = this.chains;
    let taken = 0;
    while (taken < steps && this.chains.finished === finished && (taken === 0 || performance.now() < until)) {
      this.chains.step();
      this.recording.keep(this.chains);
      taken++;
    }
    return taken;
  }

  // So many steps per second, of which `passed` milliseconds are over; a slow machine is slower, it does not catch up.
  keepUp(passed, speed, time) {
    this.owed += (passed / 1000) * speed;
    const whole = Math.floor(this.owed);
    if (!whole) return;
    const taken = this.advance(whole, time);
    this.owed = taken < whole ? 0 : this.owed - taken;
  }

  startAverage() {
    this.average ??= new Average(this.settings, this.scene, this.settings.seed);
  }

  get averaging() {
    return Boolean(this.average && !this.average.finished);
  }

  // Returns whether another start has come to its end.
  averageFor(time) {
    const known = this.average.ends.length;
    this.average.advance(performance.now() + time);
    return this.average.ends.length > known;
  }
}
