// The densities to choose from: mixtures of at most MOST_COMPONENTS small Gaussians, so that every score is exact.

const HALF_WIDTH = 9.5; // what a view shows of the plane, in each direction from the origin
const START = 8; // particles start uniformly on [-START, START]²
const MOST_COMPONENTS = 60;
const MOST_STROKES = 8;
const STROKE_STD = 0.45;

// `shares[g]` spread evenly over the points of group g.
function fromGroups(pointGroups, shares, std) {
  const means = pointGroups.flat();
  const weights = pointGroups.flatMap((points, group) => points.map(() => shares[group] / points.length));
  const groups = pointGroups.flatMap((points, group) => points.map(() => group));
  return makeMixture(means, weights, std, groups);
}

const along = (n, place) => Array.from({ length: n }, (_, i) => place((i + 0.5) / n));

const arc = (n, radius, from, to, [x, y] = [0, 0]) =>
  along(n, (t) => {
    const angle = from + t * (to - from);
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  });

function gaussians() {
  return makeMixture([[5, 5], [-5, -5]], [0.8, 0.2], 1, [0, 1]);
}

function ring() {
  const quarters = [0, 1, 2, 3].map((i) => arc(8, 6, (i * Math.PI) / 2, ((i + 1) * Math.PI) / 2));
  return fromGroups(quarters, [0.5, 0.3, 0.15, 0.05], 0.5);
}

function moons() {
  const upper = arc(14, 4.6, 0, Math.PI, [-2.3, -0.4]);
  const lower = arc(14, 4.6, Math.PI, 2 * Math.PI, [2.3, 0.4]);
  return fromGroups([upper, lower], [0.8, 0.2], 0.45);
}

// Archimedes' spiral, the components at equal distances along it (its length grows as the square of the angle).
function spiral() {
  const n = 45;
  const points = along(n, (t) => {
    const part = Math.sqrt(0.02 + 0.98 * t);
    const angle = 2.25 * 2 * Math.PI * part;
    return [7.2 * part * Math.cos(angle), 7.2 * part * Math.sin(angle)];
  });
  const thirds = [0, 1, 2].map((i) => points.slice((i * n) / 3, ((i + 1) * n) / 3));
  return fromGroups(thirds, [0.6, 0.3, 0.1], 0.4);
}

function checkerboard() {
  const squares = [];
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      if ((row + column) % 2 === 0) continue;
      const [x, y] = [3.6 * (column - 1.5), 3.6 * (1.5 - row)];
      const at = (dx, dy) => [x + 0.75 * dx, y + 0.75 * dy];
      squares.push([at(-1, -1), at(1, -1), at(0, 0), at(-1, 1), at(1, 1)]);
    }
  }
  return fromGroups(squares, [0.25, 0.25, 0.13, 0.13, 0.07, 0.07, 0.05, 0.05], 0.48);
}

// Strokes, lists of points, become evenly spaced components. One stroke alone is compared in three parts.
function drawing(strokes) {
  let groups = strokes.slice(0, MOST_STROKES);
  if (groups.length === 1 && groups[0].length >= 6) {
    const [stroke] = groups;
    const cut = (i) => Math.round((i * stroke.length) / 3);
    groups = [0, 1, 2].map((i) => stroke.slice(cut(i), cut(i + 1)));
  }
  return fromGroups(groups, groups.map((points) => points.length), STROKE_STD);
}

// Lines as strokes: all of them at the smallest spacing at which there are few enough components.
function strokesOf(lines) {
  for (let spacing = 0.6; ; spacing *= 1.15) {
    const strokes = lines.map((points) => evenly(points, spacing));
    if (strokes.flat().length <= MOST_COMPONENTS) return strokes;
  }
}

// Points at equal distances, about `spacing`, along a line; where the line is shorter than that, its middle.
function evenly(line, spacing) {
  const lengths = [0];
  for (let i = 1; i < line.length; i++) {
    lengths.push(lengths[i - 1] + Math.hypot(line[i][0] - line[i - 1][0], line[i][1] - line[i - 1][1]));
  }
  const total = lengths[line.length - 1];
  const pieces = Math.floor(total / spacing);
  const places = pieces ? Array.from({ length: pieces + 1 }, (_, i) => (i * total) / pieces) : [total / 2];
  let i = 1;
  return places.map((place) => {
    if (line.length === 1) return line[0];
    while (i < line.length - 1 && lengths[i] < place) i++;
    const t = (place - lengths[i - 1]) / (lengths[i] - lengths[i - 1] || 1);
    return [0, 1].map((axis) => line[i - 1][axis] + t * (line[i][axis] - line[i - 1][axis]));
  });
}

// What is there before anything is drawn: a face.
function firstStrokes() {
  return [arc(11, 5.5, 1.15 * Math.PI, 1.85 * Math.PI, [0, 1]), [[-3, 4]], [[2.6, 4], [3.4, 4]]];
}

const SHAPES = {
  gaussians: { name: "Two Gaussians", make: gaussians },
  ring: { name: "Ring", make: ring },
  moons: { name: "Two moons", make: moons },
  spiral: { name: "Spiral", make: spiral },
  checkerboard: { name: "Checkerboard", make: checkerboard },
  drawing: { name: "Draw your own", make: drawing },
};
