// Mixtures of Gaussians of one standard deviation in the plane, as densities/gaussian_mixture.py has them:
//
//     p_sigma(x) = sum_k w_k N(x; mu_k, v I),     v = std² + sigma²
//     s(x, sigma) = sum_k r_k(x) (mu_k - x) / v,  r_k = w_k N_k / p_sigma
//
// A mixture is { means: flat (2 K), logWeights (K), std, groups (K), shares (G) }: components belong to groups, the
// modes whose weights are compared, and shares are the true ones.

// Below this, relative to the largest term, a term is less than the rounding of the sum.
const NEGLIGIBLE = -40;

function makeMixture(means, weights, std, groups) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = new Float64Array(Math.max(...groups) + 1);
  groups.forEach((group, k) => (shares[group] += weights[k] / total));
  return {
    means: Float64Array.from(means.flat()),
    logWeights: Float64Array.from(weights, (weight) => Math.log(weight / total)),
    std,
    groups: Uint8Array.from(groups),
    shares,
  };
}

// log w_k + log N(x; mu_k, v) up to a constant into `terms`; returns the largest.
function logTerms(mixture, v, x, y, terms) {
  const { means, logWeights } = mixture;
  const precision = 0.5 / v;
  let largest = -Infinity;
  for (let k = 0; k < terms.length; k++) {
    const dx = x - means[2 * k];
    const dy = y - means[2 * k + 1];
    const term = logWeights[k] - precision * (dx * dx + dy * dy);
    terms[k] = term;
    if (term > largest) largest = term;
  }
  return largest;
}

// s(x, sigma) at all points, into `out`.
function mixtureScore(mixture, sigma, points, out) {
  const { means, logWeights } = mixture;
  const v = mixture.std ** 2 + sigma ** 2;
  const terms = new Float64Array(logWeights.length);
  for (let i = 0; i < points.length; i += 2) {
    const x = points[i];
    const y = points[i + 1];
    const largest = logTerms(mixture, v, x, y, terms);
    let total = 0;
    let meanX = 0;
    let meanY = 0;
    for (let k = 0; k < terms.length; k++) {
      const term = terms[k] - largest;
      if (term < NEGLIGIBLE) continue;
      const r = Math.exp(term);
      total += r;
      meanX += r * means[2 * k];
      meanY += r * means[2 * k + 1];
    }
    out[i] = (meanX / total - x) / v;
    out[i + 1] = (meanY / total - y) / v;
  }
  return out;
}

// log p_sigma at all points, shape (points.length / 2), in nats.
function mixtureLogProb(mixture, sigma, points) {
  const v = mixture.std ** 2 + sigma ** 2;
  const terms = new Float64Array(mixture.logWeights.length);
  const out = new Float64Array(points.length / 2);
  for (let i = 0; i < out.length; i++) {
    const largest = logTerms(mixture, v, points[2 * i], points[2 * i + 1], terms);
    let total = 0;
    for (let k = 0; k < terms.length; k++) {
      if (terms[k] - largest > NEGLIGIBLE) total += Math.exp(terms[k] - largest);
    }
    out[i] = largest + Math.log(total) - Math.log(2 * Math.PI * v);
  }
  return out;
}

// The share of points in each group; a point belongs to the component whose mean is nearest (diagnostics/modes.py).
function groupShares(mixture, points) {
  const { means, groups, shares } = mixture;
  const found = new Float64Array(shares.length);
  for (let i = 0; i < points.length; i += 2) {
    let nearest = 0;
    let least = Infinity;
    for (let k = 0; k < groups.length; k++) {
      const dx = points[i] - means[2 * k];
      const dy = points[i + 1] - means[2 * k + 1];
      const distance = dx * dx + dy * dy;
      if (distance < least) [least, nearest] = [distance, k];
    }
    found[groups[nearest]] += 2 / points.length;
  }
  return found;
}

// The share of particles that would have to move to another group, sum |found - true| / 2.
function misplaced(found, shares) {
  return found.reduce((sum, share, group) => sum + Math.abs(share - shares[group]), 0) / 2;
}

// Draws n points, flat.
function mixtureSample(mixture, n, random) {
  const points = new Float64Array(2 * n);
  fillNormal(points, random);
  for (let i = 0; i < n; i++) {
    let left = random();
    let k = 0;
    while (k < mixture.groups.length - 1 && (left -= Math.exp(mixture.logWeights[k])) > 0) k++;
    points[2 * i] = mixture.means[2 * k] + mixture.std * points[2 * i];
    points[2 * i + 1] = mixture.means[2 * k + 1] + mixture.std * points[2 * i + 1];
  }
  return points;
}
