// What is said of a chain's particles, beside what N independent draws of the density itself would come to.
//
//     misplaced    1/2 sum_g |found_g - p_g|, the share that would have to move     by chance: chance(p, N)
//     outside      the share below the log density of the contour                   by chance: 1 - CONTOUR_MASS

const TOLERATED = 0.05; // so much more than by chance, and the shares, or the shape, are called wrong

function measure(chain, mixture, contour) {
  const shares = groupShares(mixture, chain.points);
  const outside = mixtureLogProb(mixture, 0, chain.points).filter((logProb) => !(logProb >= contour)).length;
  return {
    shares,
    misplaced: misplaced(shares, mixture.shares),
    outside: outside / (chain.points.length / 2),
  };
}

// Of a share p of N independent draws, sqrt(p (1 - p) / N).
const standardError = (p, particles) => Math.sqrt((p * (1 - p)) / particles);

// E 1/2 sum_g |found_g - p_g|; of a normal variable, E |z| = sqrt(2 / pi).
function chance(shares, particles) {
  return shares.reduce((sum, p) => sum + Math.sqrt(2 / Math.PI) * standardError(p, particles), 0) / 2;
}

// Which of the two is wrong.
function verdict({ misplaced, outside }, shares, particles) {
  return {
    shares: misplaced > chance(shares, particles) + TOLERATED,
    shape: outside > 1 - CONTOUR_MASS + TOLERATED,
  };
}

// The verdict in words, each failure with its number.
function verdictWords(found, wrong) {
  const failures = [];
  if (wrong.shares) failures.push(`wrong shares (${percent(found.misplaced)} % of the particles would have to move)`);
  if (wrong.shape) failures.push(`the wrong shape (${percent(found.outside)} % lie outside the contour)`);
  return failures.join(" and ") || "shares and shape right";
}
