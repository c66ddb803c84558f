// What is said about the two chains: captions, table, bars, progress, descriptions for a screen reader, and data
// attributes of the section.

class Numbers {
  constructor(root, bars, ladder) {
    Object.assign(this, { root, bars, ladder });
  }

  // `state`: { playing, rate }.
  show(chains, scene, state) {
    const found = {};
    for (const figure of this.root.querySelectorAll(".view")) {
      const name = figure.dataset.view;
      found[name] = measure(chains[name], scene.mixture, scene.edge);
      this.showChain(figure, name, chains, found[name]);
    }
    const shares = ({ shares }, { diverged }) => (diverged ? shares.map(() => 0) : shares);
    this.bars.update(shares(found.plain, chains.plain), shares(found.annealed, chains.annealed));
    this.ladder.mark(chains.level);
    this.showProgress(chains, state);
    this.found = found;
  }

  showChain(figure, name, chains, { misplaced, outside }) {
    const place = { plain: "one level", annealed: `level ${chains.level + 1}/${chains.sigmas.length}` }[name];
    const sigma = name === "plain" ? chains.sigma : chains.annealedSigma;
    const where = `${place}, σ = ${shortNumber(sigma)}`;
    figure.querySelector('[data-number="where"]').textContent = where;
    const { diverged } = chains[name];
    const shown = (share) => (diverged ? "–" : `${percent(share)} %`); // particles far away are in no mode
    figure.querySelector('[data-number="misplaced"]').textContent = shown(misplaced);
    for (const [key, share] of Object.entries({ misplaced, outside })) {
      this.root.querySelector(`[data-cell="${name}-${key}"]`).textContent = shown(share);
    }
    const kind = { plain: "Plain", annealed: "Annealed" }[name];
    const found = diverged
      ? "all particles are far outside: it diverged."
      : `${percent(misplaced)} % of the particles are in the wrong mode, ${percent(outside)} % are outside of the data.`;
    figure.querySelector("canvas").setAttribute(
      "aria-label",
      `${kind} Langevin dynamics, ${where}, after ${chains.stepsTaken} steps: ${found}`,
    );
    const words = diverged
      ? `${kind} dynamics diverged: the step is too large, each overshoots by more than it corrects. Choose one below 2.`
      : "";
    const alert = figure.querySelector(".diverged");
    if (alert.textContent !== words) alert.textContent = words;
    this.root.dataset[`${name}Misplaced`] = misplaced;
  }

  showProgress(chains, { playing, rate }) {
    const { root } = this;
    const { stepsTaken, totalSteps, stepsPerLevel, sigmas, finished } = chains;
    root.querySelector("progress").value = Math.min(1, stepsTaken / totalSteps);
    const texts = {
      progress: finished ? `down the ladder in ${totalSteps} steps` : `step ${stepsTaken} of ${totalSteps}`,
      rate: playing && rate ? `${Math.round(rate)} frames/s` : "",
      budget: `${sigmas.length} × ${stepsPerLevel} = ${totalSteps} steps`,
    };
    for (const [name, text] of Object.entries(texts)) {
      root.querySelector(`[data-number="${name}"]`).textContent = text;
    }
    root.querySelector('[data-action="play"]').textContent = playing ? "Pause" : "Play";
    Object.assign(root.dataset, { steps: stepsTaken, finished, playing, rate: rate ?? "" });
  }

  showStep(share) {
    const note = this.root.querySelector('[data-number="step"]');
    note.classList.toggle("wrong", share >= 2);
    note.textContent =
      share >= 2
        ? "From 2 on every step of the single level overshoots: it diverges."
        : `One level diverges from 2 on; here its variance comes out ${percent(1 / (1 - share / 2) - 1)} % too large.`;
  }

  // `first`: at the end itself; afterwards the sentence goes on with the numbers, but is not read out again.
  sayEnd(chains, first) {
    if (chains.plain.diverged || chains.annealed.diverged) return;
    const [plain, annealed] = [this.found.plain, this.found.annealed].map((found) => percent(found.misplaced));
    const words =
      `After ${withCommas(chains.stepsTaken)} steps, ${plain} % of the particles are in the wrong mode with one level, ` +
      `${annealed} % with the ladder.`;
    this.say(words, first ? "polite" : "off");
  }

  say(words, live = "polite") {
    const said = this.root.querySelector(".said");
    said.setAttribute("aria-live", live);
    said.textContent = words;
  }
}
