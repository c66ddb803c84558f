// Two chains beside each other: the same start, the same noise, the same number of steps. One follows the score at a
// single sigma; the other walks down a ladder, `stepsPerLevel` steps per level, and then stays at its last level.
//
// The step is given as a share u of the variance: alpha_i = u sigma_i² on the ladder (epsilon = u sigma_L²), and
// u (std² + sigma²) for the single level. From u = 2 on a step of the single level overshoots by more than it corrects,
// and it diverges; on the ladder, levels far below std still correct.

const TOO_FAR = 200; // root mean square distance from the origin, in data units, from which no chain comes back
const CLUSTER = 40; // particles that a click drops
const CLUSTER_STD = 0.3;

class Chains {
  constructor({ mixture, sigma, sigmas, stepsPerLevel, stepShare, particles, seed }) {
    this.mixture = mixture;
    this.retune({ sigma, sigmas, stepsPerLevel, stepShare });
    this.random = randomNumbers(seed);
    this.stepsTaken = 0;
    this.noise = new Float64Array(2 * particles);
    this.score = new Float64Array(2 * particles);
    this.dropped = new Uint8Array(particles);
    this.nextDropped = 0;
    const start = this.noise.map(() => START * (2 * this.random() - 1));
    this.plain = { points: start, diverged: false };
    this.annealed = { points: start.slice(), diverged: false };
  }

  // Goes on from where the particles are, with other noise levels and steps.
  retune({ sigma, sigmas, stepsPerLevel, stepShare }) {
    Object.assign(this, { sigma, sigmas, stepsPerLevel });
    this.plainAlpha = stepShare * (this.mixture.std ** 2 + sigma ** 2);
    this.alphas = stepSizes(sigmas, stepShare * sigmas[sigmas.length - 1] ** 2);
  }

  get totalSteps() {
    return this.sigmas.length * this.stepsPerLevel;
  }

  get finished() {
    return this.stepsTaken >= this.totalSteps;
  }

  // The level of the next step, from 0; the last one after the end.
  get level() {
    return Math.min(Math.floor(this.stepsTaken / this.stepsPerLevel), this.sigmas.length - 1);
  }

  get annealedSigma() {
    return this.sigmas[this.level];
  }

  step() {
    fillNormal(this.noise, this.random);
    this.move(this.plain, this.sigma, this.plainAlpha);
    this.move(this.annealed, this.annealedSigma, this.alphas[this.level]);
    this.stepsTaken++;
  }

  move(chain, sigma, alpha) {
    if (chain.diverged) return;
    const { points } = chain;
    langevinStep(points, mixtureScore(this.mixture, sigma, points, this.score), alpha, this.noise);
    const square = points.reduce((sum, coordinate) => sum + coordinate * coordinate, 0);
    chain.diverged = !(square < (TOO_FAR * TOO_FAR * points.length) / 2);
  }

  // Puts a cluster at a place of both views, in place of particles that were there longest.
  drop(x, y) {
    const around = new Float64Array(2 * Math.min(CLUSTER, this.dropped.length));
    fillNormal(around, this.random);
    for (let i = 0; i < around.length; i += 2) {
      const at = this.nextDropped;
      this.nextDropped = (at + 1) % this.dropped.length;
      this.dropped[at] = 1;
      for (const { points } of [this.plain, this.annealed]) {
        points[2 * at] = x + CLUSTER_STD * around[i];
        points[2 * at + 1] = y + CLUSTER_STD * around[i + 1];
      }
    }
  }
}

// The log density above which a share of the mixture's mass lies, from samples.
function contourLevel(mixture, mass, samples = 4000) {
  const logProbs = mixtureLogProb(mixture, 0, mixtureSample(mixture, samples, randomNumbers(1))).sort();
  return logProbs[Math.round((1 - mass) * samples)];
}
