// The same settings from several starts, so that the verdict does not hang on one: run to the end in slices of time.

const STARTS = 8;

class Average {
  // `settings` of `Chains`, without the seed; `scene` measures the ends.
  constructor(settings, scene, firstSeed) {
    Object.assign(this, { settings, scene, firstSeed });
    this.ends = [];
  }

  get finished() {
    return this.ends.length === STARTS;
  }

  // Takes steps until the time, of `performance.now()`, or the end.
  advance(until) {
    while (!this.finished) {
      this.chains ??= new Chains({ ...this.settings, seed: this.firstSeed + this.ends.length });
      while (!this.chains.finished) {
        this.chains.step();
        if (performance.now() > until) return;
      }
      const found = (chain) => (chain.diverged ? null : measure(chain, this.scene.mixture, this.scene.edge));
      this.ends.push({ plain: found(this.chains.plain), annealed: found(this.chains.annealed) });
      this.chains = null;
    }
  }

  // Mean over the starts, and its standard error; null where a chain diverged.
  result(name, key) {
    if (this.ends.some((end) => end[name] === null)) return null;
    const values = this.ends.map((end) => end[name][key]);
    const mean = values.reduce((sum, value) => sum + value, 0) / STARTS;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, standardError: Math.sqrt(squares / (STARTS - 1) / STARTS) };
  }
}
