// The settings, their ranges, and how they stand in the query of the page's address, so that a view can be shared:
// ?playground.density=ring&playground.levels=20 names what differs from the defaults. Only what is valid is taken.

// `log`: the slider moves on a logarithmic scale.
const RANGES = {
  sigma: { min: 0.05, max: 12, log: true },
  max: { min: 1, max: 20, log: true },
  min: { min: 0.05, max: 0.95, log: true },
  levels: { min: 1, max: 24, whole: true },
  steps: { min: 1, max: 100, whole: true },
  step: { min: 0.01, max: 3, log: true },
  particles: { min: 100, max: 3000, whole: true },
  speed: { min: 5, max: 300, whole: true },
  seed: { min: 1, max: 9999, whole: true },
};

const DEFAULTS = {
  density: "gaussians",
  sigma: 0.25,
  max: 8,
  min: 0.25,
  levels: 12,
  steps: 40,
  step: 0.1,
  particles: 1500,
  speed: 80,
  seed: 1,
  shading: true,
  contours: true,
  arrows: true,
  trails: true,
  repeat: false,
  sigmas: null, // levels moved one by one, in place of the geometric ladder
  strokes: null, // of "Draw your own"
};

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function inRange(name, value) {
  const { min, max, whole } = RANGES[name];
  const rounded = whole ? Math.round(value) : Number(value.toPrecision(3));
  return clamp(rounded, min, max);
}

// The ladder of the settings, shape (L).
function ladderOf(settings) {
  return settings.sigmas
    ? Float64Array.from(settings.sigmas)
    : geometricLadder(settings.max, settings.min, settings.levels);
}

function mixtureOf(settings) {
  return SHAPES[settings.density].make(settings.strokes ?? firstStrokes());
}

function encodeStrokes(strokes) {
  const letter = (coordinate) => {
    const place = Math.round(((coordinate + HALF_WIDTH) / (2 * HALF_WIDTH)) * (LETTERS.length - 1));
    return LETTERS[clamp(place, 0, LETTERS.length - 1)];
  };
  return strokes.map((points) => points.map(([x, y]) => letter(x) + letter(y)).join("")).join("-");
}

// The strokes again, to within the grid of letters; null for anything else.
function decodeStrokes(text) {
  if (!/^(?:[0-9A-Za-z]{2})+(?:-(?:[0-9A-Za-z]{2})+)*$/.test(text)) return null;
  const coordinate = (letter) => (LETTERS.indexOf(letter) / (LETTERS.length - 1)) * 2 * HALF_WIDTH - HALF_WIDTH;
  const strokes = text.split("-").map((line) => line.match(/../g).map(([x, y]) => [coordinate(x), coordinate(y)]));
  return strokes.length <= MOST_STROKES && strokes.flat().length <= MOST_COMPONENTS ? strokes : null;
}

function decodeSigmas(text) {
  const sigmas = text.split("-").map(Number);
  const [min, max] = [RANGES.min.min, RANGES.max.max];
  const valid = sigmas.every((sigma, i) => sigma >= min && sigma <= max && (i === 0 || sigma < sigmas[i - 1]));
  return valid && sigmas.length > 1 && sigmas.length <= RANGES.levels.max ? sigmas : null;
}

// Puts the settings into the query of a URL.
function writeQuery(query, settings) {
  for (const [name, value] of Object.entries(settings)) {
    const shown = value !== null && value !== DEFAULTS[name] && (name !== "strokes" || settings.density === "drawing");
    if (shown) query.set(`playground.${name}`, asText(name, value));
    else query.delete(`playground.${name}`);
  }
}

function asText(name, value) {
  if (name === "strokes") return encodeStrokes(value);
  if (name === "sigmas") return value.map((sigma) => Number(sigma.toPrecision(3))).join("-");
  return typeof value === "boolean" ? Number(value) : value;
}

// The settings that a query names, the defaults elsewhere.
function readQuery(query) {
  const settings = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const text = query.get(`playground.${name}`);
    if (!text) continue;
    const number = Number(text);
    if (name in RANGES) settings[name] = Number.isFinite(number) ? inRange(name, number) : DEFAULTS[name];
    else if (typeof DEFAULTS[name] === "boolean") settings[name] = text === "1" || (text !== "0" && DEFAULTS[name]);
    else if (name === "density") settings.density = Object.hasOwn(SHAPES, text) ? text : DEFAULTS.density;
    else if (name === "strokes") settings.strokes = decodeStrokes(text);
    else settings.sigmas = decodeSigmas(text);
  }
  if (settings.sigmas) {
    settings.levels = settings.sigmas.length;
    settings.max = inRange("max", settings.sigmas[0]);
    settings.min = inRange("min", settings.sigmas.at(-1));
  }
  return settings;
}
