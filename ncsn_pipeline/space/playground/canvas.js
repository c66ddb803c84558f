// A view of the plane: density, contours and arrows on a background that is painted when one of them changes, and the
// particles on top, some with their trails, redrawn in every frame.

const GRID = 96; // cells along a side of the density's picture
const ARROWS = { small: 9, large: 15 }; // along a side of a view
const RADIUS = { small: 1.1, large: 1.6 }; // of a particle, in pixels of the page
const SMALL_VIEW = 280; // pixels of the page
const TRAILED = 40; // particles that leave a trail
const TRAIL = 14; // places of a trail that are remembered
const TRAIL_OPACITIES = [0.15, 0.35, 0.6]; // of its oldest, middle and newest part
const shadings = new WeakMap(); // mixture -> sigma and colour -> picture

class View {
  // `colour` is the name of the style variable of the particles.
  constructor(canvas, colour) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.colour = colour;
    this.background = document.createElement("canvas");
    this.painted = "";
    this.trails = []; // places of the first particles, the newest last
  }

  // Takes the size and the colours that the page gives; true where that changed anything.
  fit() {
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const [ground, density, line, ink, dropped] = ["ground", "density", "line", "ink", "dropped"].map(colour);
    const particle = colour(this.colour);
    const size = Math.round(this.canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
    const look = [size, ground, density, line, ink, dropped, particle].join();
    if (!size || look === this.look) return false;
    this.look = look;
    this.colours = { ground, density, line, ink, dropped, particle };
    this.font = style.fontFamily;
    this.size = size;
    this.unit = size / this.canvas.clientWidth;
    for (const canvas of [this.canvas, this.background]) canvas.width = canvas.height = size;
    this.frame = this.context.createImageData(size, size);
    this.kind = size < SMALL_VIEW * this.unit ? "small" : "large";
    this.dots = [dot(particle, RADIUS[this.kind] * this.unit, 0.6), dot(dropped, 2.3 * this.unit, 0.95)];
    this.painted = "";
    return true;
  }

  toPixel(x, y) {
    const scale = this.size / (2 * HALF_WIDTH);
    return [this.size / 2 + x * scale, this.size / 2 - y * scale];
  }

  // The place in the plane of a pointer's event.
  toPlane(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      clamp(((event.clientX - box.left) / box.width - 0.5) * 2 * HALF_WIDTH, -HALF_WIDTH, HALF_WIDTH),
      clamp((0.5 - (event.clientY - box.top) / box.height) * 2 * HALF_WIDTH, -HALF_WIDTH, HALF_WIDTH),
    ];
  }

  // Paints the background where the sigma, the layers or the look changed since.
  paint(scene, sigma, layers) {
    const wanted = [scene.id, sigma, layers.shading, layers.contours, layers.arrows, this.look].join();
    if (wanted === this.painted) return;
    this.painted = wanted;
    const context = this.background.getContext("2d", { willReadFrequently: true });
    context.fillStyle = this.colours.ground;
    context.fillRect(0, 0, this.size, this.size);
    if (layers.shading) {
      context.imageSmoothingQuality = "high";
      context.drawImage(shading(scene.mixture, sigma, this.colours.density), 0, 0, this.size, this.size);
    }
    if (layers.arrows) this.paintArrows(context, scene.mixture, sigma);
    if (layers.contours) this.paintContour(context, scene.contour);
    this.labels = scene.labels.length > 1 ? scene.labels : [];
    this.backgroundPixels = context.getImageData(0, 0, this.size, this.size).data;
  }

  paintArrows(context, mixture, sigma) {
    const side = ARROWS[this.kind];
    const cell = (2 * HALF_WIDTH) / side;
    const points = gridPoints(side);
    const score = mixtureScore(mixture, sigma, points, new Float64Array(points.length));
    const variance = mixture.std ** 2 + sigma ** 2;
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      const [sx, sy] = [score[i] * variance, score[i + 1] * variance]; // how far the mean of what is denoised lies
      const distance = Math.hypot(sx, sy);
      const length = (0.8 * cell * distance) / (distance + 1.5);
      const [ux, uy] = distance ? [sx / distance, sy / distance] : [0, 0];
      const [tailX, tailY] = [points[i] - (ux * length) / 2, points[i + 1] - (uy * length) / 2];
      const [tipX, tipY] = [tailX + ux * length, tailY + uy * length];
      const head = 0.3 * length;
      context.moveTo(...this.toPixel(tailX, tailY));
      context.lineTo(...this.toPixel(tipX, tipY));
      context.moveTo(...this.toPixel(tipX - head * (ux - 0.6 * uy), tipY - head * (uy + 0.6 * ux)));
      context.lineTo(...this.toPixel(tipX, tipY));
      context.lineTo(...this.toPixel(tipX - head * (ux + 0.6 * uy), tipY - head * (uy - 0.6 * ux)));
    }
    context.strokeStyle = this.colours.line;
    context.lineWidth = this.unit;
    context.stroke();
  }

  paintContour(context, segments) {
    context.beginPath();
    for (const [from, to] of segments) {
      context.moveTo(...this.toPixel(...from));
      context.lineTo(...this.toPixel(...to));
    }
    context.globalAlpha = 0.6;
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 1.1 * this.unit;
    context.lineCap = "round";
    context.stroke();
    context.globalAlpha = 1;
  }

  // One frame. `moved`: whether particles moved since the last one, so that their trails grow.
  draw(points, dropped, showTrails, moved) {
    const { frame, size } = this;
    const scale = size / (2 * HALF_WIDTH);
    frame.data.set(this.backgroundPixels);
    for (const marked of [0, 1]) {
      for (let i = 0; i < dropped.length; i++) {
        if (dropped[i] === marked) {
          const [x, y] = [size / 2 + scale * points[2 * i], size / 2 - scale * points[2 * i + 1]];
          blend(frame, this.dots[marked], Math.round(x), Math.round(y));
        }
      }
    }
    this.context.putImageData(frame, 0, 0);
    if (moved) this.extendTrails(points);
    if (showTrails) this.drawTrails();
    this.drawLabels();
  }

  extendTrails(points) {
    this.trails.push(points.slice(0, 2 * TRAILED));
    if (this.trails.length > TRAIL) this.trails.shift();
  }

  drawTrails() {
    const { context, trails } = this;
    context.strokeStyle = this.colours.particle;
    context.lineWidth = this.unit;
    TRAIL_OPACITIES.forEach((opacity, part) => {
      const cut = (i) => Math.round((i * (trails.length - 1)) / TRAIL_OPACITIES.length);
      context.globalAlpha = opacity;
      context.beginPath();
      for (let i = 0; i < (trails[0]?.length ?? 0); i += 2) {
        for (let age = cut(part); age <= cut(part + 1); age++) {
          context[age === cut(part) ? "moveTo" : "lineTo"](...this.toPixel(trails[age][i], trails[age][i + 1]));
        }
      }
      context.stroke();
    });
    context.globalAlpha = 1;
  }

  drawLabels() {
    const { context } = this;
    context.font = `600 ${12 * this.unit}px ${this.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    this.labels.forEach((place, group) => {
      const [x, y] = this.toPixel(...place);
      context.globalAlpha = 0.85;
      context.fillStyle = this.colours.ground;
      context.beginPath();
      context.arc(x, y, 9 * this.unit, 0, 2 * Math.PI);
      context.fill();
      context.globalAlpha = 1;
      context.fillStyle = this.colours.ink;
      context.fillText(groupName(group), x, y + 0.5 * this.unit);
    });
  }

  // Forgets the trails, as after a new start.
  clearTrails() {
    this.trails = [];
  }

  // A line that is being drawn.
  drawLine(line) {
    const { context } = this;
    context.beginPath();
    line.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...this.toPixel(...point)));
    context.strokeStyle = this.colours.dropped;
    context.lineWidth = 6 * this.unit;
    context.lineCap = context.lineJoin = "round";
    context.stroke();
  }
}

// A disc with a soft edge, pixel by pixel: thousands of them are blended faster by hand than drawn one by one.
function dot(colour, radius, opacity) {
  const reach = Math.ceil(radius);
  const pixels = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = clamp(radius + 0.5 - Math.hypot(dx, dy), 0, 1) * opacity;
      if (cover > 0) pixels.push({ dx, dy, cover });
    }
  }
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return { reach, pixels, red, green, blue };
}

function blend({ data, width }, { reach, pixels, red, green, blue }, x, y) {
  if (!(x >= reach && y >= reach && x < width - reach && y < width - reach)) return;
  for (let i = 0; i < pixels.length; i++) {
    const { dx, dy, cover } = pixels[i];
    const at = 4 * ((y + dy) * width + x + dx);
    data[at] += cover * (red - data[at]);
    data[at + 1] += cover * (green - data[at + 1]);
    data[at + 2] += cover * (blue - data[at + 2]);
  }
}

// p_sigma as a picture in one colour: its opacity follows the square root of the density.
function shading(mixture, sigma, colour) {
  if (!shadings.has(mixture)) shadings.set(mixture, new Map());
  const known = shadings.get(mixture);
  const key = `${sigma} ${colour}`;
  if (!known.has(key)) {
    const logProb = mixtureLogProb(mixture, sigma, gridPoints(GRID));
    const largest = logProb.reduce((a, b) => Math.max(a, b), -Infinity);
    const picture = document.createElement("canvas");
    picture.width = picture.height = GRID;
    const context = picture.getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, GRID, GRID);
    const image = context.getImageData(0, 0, GRID, GRID);
    logProb.forEach((value, i) => (image.data[4 * i + 3] = 255 * 0.75 * Math.exp((value - largest) / 2)));
    context.putImageData(image, 0, 0);
    if (known.size > 60) known.clear();
    known.set(key, picture);
  }
  return known.get(key);
}
