// What of a view depends on the density alone: its contour and where its groups are labelled.

const CONTOUR_MASS = 0.99; // the share of the data inside of the contour
const CONTOUR_GRID = 140;
let scenes = 0;

function makeScene(mixture) {
  const edge = contourLevel(mixture, CONTOUR_MASS);
  const points = gridPoints(CONTOUR_GRID);
  const logProb = mixtureLogProb(mixture, 0, points);
  return {
    id: ++scenes,
    mixture,
    edge,
    contour: contour(points, logProb, CONTOUR_GRID, edge),
    labels: Array.from(mixture.shares, (_, group) => labelPlace(mixture, group)),
  };
}

// A, B, C, ...
const groupName = (group) => String.fromCharCode(65 + group);

// Marching squares: segments [[x, y], [x, y]] along which the values on a grid cross a level.
function contour(points, values, n, level) {
  const segments = [];
  const crossing = (a, b) => {
    const t = (level - values[a]) / (values[b] - values[a]);
    return [0, 1].map((axis) => points[2 * a + axis] + t * (points[2 * b + axis] - points[2 * a + axis]));
  };
  for (let row = 0; row < n - 1; row++) {
    for (let column = 0; column < n - 1; column++) {
      const a = row * n + column;
      const corners = [a, a + 1, a + n + 1, a + n];
      const crossed = [0, 1, 2, 3]
        .map((i) => [corners[i], corners[(i + 1) % 4]])
        .filter(([from, to]) => values[from] >= level !== values[to] >= level)
        .map(([from, to]) => crossing(from, to));
      for (let i = 0; i + 1 < crossed.length; i += 2) segments.push([crossed[i], crossed[i + 1]]);
    }
  }
  return segments;
}

// Beside the middle component of a group, where the density is least; on it where many groups leave little room.
function labelPlace(mixture, group) {
  const members = Array.from(mixture.groups.keys()).filter((k) => mixture.groups[k] === group);
  const middle = members[Math.floor(members.length / 2)];
  if (mixture.shares.length > 4) return [mixture.means[2 * middle], mixture.means[2 * middle + 1]];
  const distance = 2.6 * mixture.std + 0.7;
  const places = Array.from({ length: 16 }, (_, i) => {
    const angle = (Math.PI * (i + 4)) / 8;
    const direction = [Math.cos(angle), Math.sin(angle)];
    return [0, 1].map((axis) => mixture.means[2 * middle + axis] + distance * direction[axis]);
  }).filter((place) => place.every((coordinate) => Math.abs(coordinate) < HALF_WIDTH - 0.5));
  const logProb = mixtureLogProb(mixture, 0, Float64Array.from(places.flat()));
  return places[logProb.indexOf(logProb.reduce((a, b) => Math.min(a, b), Infinity))];
}

// The middles of n x n cells, row by row from the top.
function gridPoints(n) {
  const points = new Float64Array(2 * n * n);
  for (let i = 0; i < n * n; i++) {
    points[2 * i] = (((i % n) + 0.5) / n) * 2 * HALF_WIDTH - HALF_WIDTH;
    points[2 * i + 1] = HALF_WIDTH - ((Math.floor(i / n) + 0.5) / n) * 2 * HALF_WIDTH;
  }
  return points;
}
