// Langevin dynamics as the package writes it (sampling/scheduling_annealed_langevin.py, noise_levels/ladder.py):
//
//     x <- x + alpha s(x, sigma) + sqrt(2 alpha) z,     alpha_i = epsilon sigma_i² / sigma_L²
//
// Points are flat arrays x_1, y_1, x_2, y_2, ... in data units.

// sigma_i = sigma_max^(1 - t_i) sigma_min^t_i, t_i = (i - 1) / (L - 1), the ends exact.
function geometricLadder(sigmaMax, sigmaMin, numLevels) {
  const sigmas = new Float64Array(numLevels);
  const [first, last] = [Math.log(sigmaMax), Math.log(sigmaMin)];
  for (let i = 1; i < numLevels; i++) sigmas[i] = Math.exp(first + (i / (numLevels - 1)) * (last - first));
  if (numLevels > 1) sigmas[numLevels - 1] = sigmaMin;
  sigmas[0] = sigmaMax;
  return sigmas;
}

// alpha_i of every level; epsilon is the step at the last one.
function stepSizes(sigmas, epsilon) {
  const last = sigmas[sigmas.length - 1];
  return sigmas.map((sigma) => epsilon * (sigma / last) ** 2);
}

// One step of all points, in place.
function langevinStep(x, score, alpha, noise) {
  const spread = Math.sqrt(2 * alpha);
  for (let i = 0; i < x.length; i++) x[i] += alpha * score[i] + spread * noise[i];
}

// Uniform numbers in [0, 1) from a whole number: the same seed gives the same run (Mulberry32).
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Fills an array of even length with unit normal numbers (Box & Muller).
function fillNormal(array, random) {
  for (let i = 0; i < array.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    array[i] = radius * Math.cos(angle);
    array[i + 1] = radius * Math.sin(angle);
  }
}
