// Paints on the model's own pixels: marks them where the task is to repair, draws on the image in all others.
const SCALE = 14;
const MARK = [99, 102, 241];
const root = element.querySelector(".pixel-canvas");
const canvas = root.querySelector("canvas");
const find = (selector) => root.querySelector(selector);
const stash = {};
let image = [];
let mask = [];
const FIRST = root.dataset.task;
// The tab is built when it is opened; what its address asked for may have been set before.
let task = document.querySelector("#repair-task input:checked")?.value ?? root.dataset.task;
root.dataset.task = task;
let tool = "paint";
let last = null;
let cursor = null;

const isGrey = () => !Array.isArray(image[0][0]);
const filled = (value) => image.map((row) => row.map(value));
const blank = () => filled(() => (isGrey() ? 0 : [255, 255, 255]));
const colour = () => find(".colour").value.match(/\w\w/g).map((part) => parseInt(part, 16));

function draw() {
  const [height, width] = [image.length, image[0].length];
  canvas.width = width * SCALE;
  canvas.height = height * SCALE;
  const context = canvas.getContext("2d");
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const pixel = isGrey() ? [image[y][x], image[y][x], image[y][x]] : image[y][x];
      const marked = task === "inpaint" && mask[y][x];
      const shown = marked ? pixel.map((part, i) => Math.round(0.3 * part + 0.7 * MARK[i])) : pixel;
      context.fillStyle = `rgb(${shown.join(",")})`;
      context.fillRect(x * SCALE, y * SCALE, SCALE, SCALE);
    }
  }
  if (cursor && document.activeElement === canvas) {
    context.strokeStyle = "#f59e0b";
    context.lineWidth = 2;
    context.strokeRect(cursor[0] * SCALE + 1, cursor[1] * SCALE + 1, SCALE - 2, SCALE - 2);
  }
}

function dab(at, erase) {
  const radius = Number(find(".size").value) / 2;
  for (let y = Math.floor(at[1] - radius - 1); y <= at[1] + radius + 1; y++) {
    for (let x = Math.floor(at[0] - radius - 1); x <= at[0] + radius + 1; x++) {
      if (!(y in image) || !(x in image[0])) continue;
      // How much of the pixel the round brush covers, near enough.
      const covered = Math.min(Math.max(radius + 0.5 - Math.hypot(x + 0.5 - at[0], y + 0.5 - at[1]), 0), 1);
      if (task === "inpaint") {
        if (covered >= 0.5) mask[y][x] = erase ? 0 : 1;
      } else if (isGrey()) {
        const ink = Math.round(255 * covered);
        image[y][x] = erase ? Math.min(image[y][x], 255 - ink) : Math.max(image[y][x], ink);
      } else if (covered >= 0.5) {
        image[y][x] = erase ? [255, 255, 255] : colour();
      }
    }
  }
}

function stroke(to, erase) {
  const from = last ?? to;
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
  for (let i = 1; i <= steps; i++) dab(from.map((start, k) => start + ((to[k] - start) * i) / steps), erase);
  last = to;
  draw();
}

// Where the cursor is and what is there, for those who hear the page.
function describe() {
  const [x, y] = cursor;
  const there = task === "inpaint" ? (mask[y][x] ? "marked" : "kept") : `value ${image[y][x]}`;
  const marked = mask.flat().filter(Boolean).length;
  const sum = task === "inpaint" ? `; ${marked} of ${mask.flat().length} marked` : "";
  find(".heard").textContent = `Row ${y + 1}, column ${x + 1}, ${there}${sum}`;
}

function send() {
  props.value = JSON.stringify({ image, mask });
}

function load() {
  if (!props.value) return;
  const given = JSON.parse(props.value);
  ({ image, mask } = given);
  if (given.anew) { // another model's picture and first task; what was sketched for the one before does not fit
    cursor = null;
    for (const name of Object.keys(stash)) delete stash[name];
    root.dataset.task = task = FIRST;
    name();
    send();
  }
  root.classList.toggle("grey", isGrey());
  draw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * image[0].length, ((event.clientY - box.top) / box.height) * image.length];
}

function name() {
  find('[data-tool="paint"]').textContent = task === "inpaint" ? "Mark" : "Draw";
}

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary) return; // a second finger
  canvas.setPointerCapture(event.pointerId);
  last = null;
  cursor = null;
  stroke(place(event), tool === "erase" || event.button === 2);
});
canvas.addEventListener("pointermove", (event) => {
  if (canvas.hasPointerCapture(event.pointerId)) {
    for (const part of event.getCoalescedEvents?.() ?? [event]) stroke(place(part), tool === "erase" || event.buttons === 2);
  }
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, send);
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  cursor ??= [Math.floor(image[0].length / 2), Math.floor(image.length / 2)];
  if (event.key in moves) {
    const bounds = [image[0].length, image.length];
    cursor = cursor.map((at, k) => Math.min(Math.max(at + moves[event.key][k], 0), bounds[k] - 1));
  } else if ([" ", "Enter", "Delete", "Backspace"].includes(event.key)) {
    last = null;
    stroke(cursor.map((at) => at + 0.5), tool === "erase" || event.key.length > 5);
    send();
  } else return;
  event.preventDefault();
  draw();
  describe();
});
for (const change of ["focus", "blur"]) canvas.addEventListener(change, draw);

root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.tool) {
    tool = button.dataset.tool;
    root.querySelectorAll("[data-tool]").forEach((each) => each.setAttribute("aria-pressed", each === button));
    return;
  }
  const [height, width] = [image.length, image[0].length];
  const inside = (at, size) => at >= 0.28 * size && at < 0.72 * size;
  if (button.dataset.do === "half") mask = filled(() => 0).map((row) => row.map((_, x) => Number(x >= Math.floor(width / 2))));
  else if (button.dataset.do === "centre") {
    mask = filled(() => 0).map((row, y) => row.map((_, x) => Number(inside(x, width) && inside(y, height))));
  } else if (task === "inpaint") mask = filled(() => 0);
  else image = blank();
  send();
  draw();
});

// A sketch has a picture of its own, the other tasks share one: going from any to any and back loses nothing.
new MutationObserver(() => {
  if (task === root.dataset.task) return;
  const [left, come] = [task, root.dataset.task].map((name) => (name === "edit" ? "sketch" : "picture"));
  task = root.dataset.task;
  if (left !== come) {
    stash[left] = { image, mask };
    ({ image, mask } = stash[come] ?? { image: blank(), mask });
  }
  name();
  send();
  draw();
}).observe(root, { attributeFilter: ["data-task"] });

watch("value", load);
name();
load();
