// What is said about the two chains: captions, table, bars, time, descriptions for a screen reader, and data attributes
// of the section.

const CHAIN_NAMES = { plain: "Plain", annealed: "Annealed" };
const MARKS = { true: "✗", false: "✓" }; // of what is wrong, and of what is right

class Numbers {
  constructor(root, bars, ladder) {
    Object.assign(this, { root, bars, ladder });
  }

  // `chains`: as they are, or as they were at a moment; `state`: { playing, rate }.
  show(chains, scene, state) {
    const found = {};
    for (const figure of this.root.querySelectorAll(".view")) {
      const name = figure.dataset.view;
      found[name] = measure(chains[name], scene.mixture, scene.edge);
      this.showChain(figure, name, chains, scene.mixture.shares, found[name]);
    }
    const shares = ({ shares }, { diverged }) => (diverged ? shares.map(() => 0) : shares);
    this.bars.update(shares(found.plain, chains.plain), shares(found.annealed, chains.annealed));
    this.ladder.mark(chains.level);
    this.write("chance", `${percent(chance(scene.mixture.shares, chains.dropped.length))} %`);
    this.showTime(chains, state);
    this.found = found;
  }

  write(name, text) {
    this.root.querySelector(`[data-number="${name}"]`).textContent = text;
  }

  showChain(figure, name, chains, shares, found) {
    const { misplaced, outside } = found;
    const place = { plain: "one level", annealed: `level ${chains.level + 1}/${chains.sigmas.length}` }[name];
    const sigma = name === "plain" ? chains.sigma : chains.annealedSigma;
    const where = `${place}, σ = ${shortNumber(sigma)}`;
    figure.querySelector('[data-number="where"]').textContent = where;
    const { diverged } = chains[name];
    const wrong = verdict(found, shares, chains.dropped.length);
    for (const [key, isWrong] of Object.entries(wrong)) {
      const mark = figure.querySelector(`[data-verdict="${key}"]`);
      mark.textContent = `${diverged ? "–" : MARKS[isWrong]} ${key}`; // particles far away are in no mode
      mark.classList.toggle("wrong", isWrong && !diverged);
    }
    for (const [key, share] of Object.entries({ misplaced, outside })) {
      this.cell(name, key).textContent = diverged ? "–" : `${percent(share)} %`;
      this.root.dataset[`${name}${key === "misplaced" ? "Misplaced" : "Outside"}`] = share;
    }
    const words = diverged
      ? "all particles are far outside: it diverged."
      : `${percent(misplaced)} % of the particles would have to move to another mode, ${percent(outside)} % lie outside ` +
        "the contour.";
    figure.querySelector("canvas").setAttribute(
      "aria-label",
      `${CHAIN_NAMES[name]} Langevin dynamics, ${where}, after ${chains.stepsTaken} steps: ${words}`,
    );
    const alert = figure.querySelector(".diverged");
    const alarm = diverged
      ? `${CHAIN_NAMES[name]} dynamics diverged: the step is too large, each overshoots by more than it corrects. ` +
        "Choose one below 2."
      : "";
    if (alert.textContent !== alarm) alert.textContent = alarm;
  }

  cell(name, key) {
    return this.root.querySelector(`[data-cell="${name}-${key}"]`);
  }

  showTime(chains, { playing, rate }) {
    const { stepsTaken, totalSteps, stepsPerLevel, sigmas, finished } = chains;
    const time = this.root.querySelector("[data-time]");
    time.max = totalSteps;
    time.value = Math.min(stepsTaken, totalSteps);
    time.setAttribute("aria-valuetext", `step ${stepsTaken}`);
    const more = stepsTaken > totalSteps ? `, ${withCommas(stepsTaken - totalSteps)} more at the last level` : "";
    this.write("time", finished ? `all ${totalSteps} steps taken${more}` : `step ${stepsTaken} of ${totalSteps}`);
    this.write("rate", playing && rate ? `${Math.round(rate)} frames/s` : "");
    this.write("budget", `${sigmas.length} × ${stepsPerLevel} = ${totalSteps} steps`);
    this.write("alphas", `Step α: ${shortNumber(chains.plainAlpha)} with one level, ${alphasOf(chains)} with many.`);
    this.root.querySelector('[data-action="play"]').textContent = playing ? "Pause" : "Play";
    Object.assign(this.root.dataset, { steps: stepsTaken, finished, playing, rate: rate ?? "" });
  }

  showStep(share) {
    const note = this.root.querySelector('[data-number="step"]');
    note.classList.toggle("wrong", share >= 2);
    note.textContent =
      share >= 2
        ? "From 2 on every step of the single level overshoots: it diverges."
        : `One level diverges from 2 on; here its variance comes out ${percent(1 / (1 - share / 2) - 1)} % too large.`;
  }

  // The mean over several starts, as far as it is known; null takes it away.
  showAverage(average) {
    for (const name of ["plain", "annealed"]) {
      for (const key of ["misplaced", "outside"]) {
        const result = average?.finished ? average.result(name, key) : null;
        const tenths = (share) => (100 * share).toFixed(1);
        this.cell(name, `mean-${key}`).textContent = result
          ? `${tenths(result.mean)} ± ${tenths(result.standardError)} %`
          : "–";
      }
    }
    const words = !average || average.finished ? `Average ${STARTS} starts` : `${average.ends.length} of ${STARTS} …`;
    this.root.querySelector('[data-action="average"]').textContent = words;
    this.root.dataset.averaged = average?.finished ?? false;
  }

  // `first`: at the end itself; afterwards the sentence goes on with the numbers, but is not read out again.
  sayEnd(chains, scene, first) {
    if (chains.plain.diverged || chains.annealed.diverged) return;
    const [one, many] = ["plain", "annealed"].map((name) => {
      const found = this.found[name];
      return verdictWords(found, verdict(found, scene.mixture.shares, chains.dropped.length));
    });
    const words = `After ${withCommas(chains.stepsTaken)} steps, one noise level: ${one}. Many: ${many}.`;
    this.say(words, first ? "polite" : "off");
  }

  say(words, live = "polite") {
    const said = this.root.querySelector(".said");
    said.setAttribute("aria-live", live);
    said.textContent = words;
  }
}

// The largest and the smallest step of the noise levels.
function alphasOf({ alphas }) {
  const [first, last] = [alphas[0], alphas[alphas.length - 1]].map(shortNumber);
  return first === last ? first : `${first} down to ${last}`;
}
