// Shows a run while it goes on, and after it each step out of the strip that holds them all; keeps up to four of them.
const MILLISECONDS = 90;
const MOST_PINS = 4;
let strip = null;
let data = null;
let timer = null;
let shown = 0;

const find = (selector) => element.querySelector(selector);

function paint(canvas, picture, left, top, width, height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(picture, left, top, width, height, 0, 0, width, height);
  return canvas;
}

// After the evaluations the strip holds the samples, beside the last estimate.
const lastStep = () => data.evaluations.length;

// A step of the strip: x in its upper half, the denoised estimate in its lower.
function paintStep(canvas, step, half) {
  const { columns, width, height } = data;
  return paint(canvas, strip, (step % columns) * width, (2 * Math.floor(step / columns) + half) * height, width, height);
}

function draw(step) {
  shown = step;
  const { evaluations, sigmas, of } = data;
  const isEnd = step === lastStep();
  const evaluation = evaluations[isEnd ? step - 1 : step];
  const words = isEnd
    ? `The samples, after evaluation ${evaluation} of ${of}`
    : `Evaluation ${evaluation} of ${of}, σ = ${Number(sigmas[step].toPrecision(3))}`;
  paintStep(find(".noisy"), step, 0).setAttribute("aria-label", isEnd ? words : `${words}: noisy images`);
  paintStep(find(".denoised"), step, 1).setAttribute("aria-label", `${words}: denoised images`);
  const slider = find("input");
  slider.max = lastStep();
  slider.value = step;
  slider.setAttribute("aria-valuetext", words);
  find("output").textContent = words;
  find(".player").dataset.evaluation = evaluation;
}

function pause() {
  clearInterval(timer);
  timer = null;
  find(".play").textContent = "▶";
  find(".play").setAttribute("aria-label", "Play the trajectory");
}

function play() {
  if (shown === lastStep()) draw(0);
  timer = setInterval(() => {
    if (!element.isConnected || !data || shown >= lastStep()) return pause();
    draw(shown + 1);
  }, MILLISECONDS);
  find(".play").textContent = "❚❚";
  find(".play").setAttribute("aria-label", "Pause the trajectory");
}

const loaded = (file) =>
  new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = file.url;
  });

async function load() {
  const value = props.value;
  if (!value) return;
  const pictures = await Promise.all((value.strip ? [value.strip] : [value.noisy, value.denoised]).map(loaded));
  if (JSON.stringify(value) !== JSON.stringify(props.value) || pictures.includes(null)) return; // a newer one is on its way, or this one is gone
  pause();
  data = value.strip ? value : null;
  for (const control of [find(".play"), find("input"), find(".pin")]) control.disabled = !data;
  find(".read").textContent = value.read ?? "";
  if (data) {
    strip = pictures[0];
    draw(lastStep());
  } else {
    delete find(".player").dataset.evaluation;
    ["noisy", "denoised"].forEach((view, i) => {
      const { naturalWidth: width, naturalHeight: height } = pictures[i];
      paint(find(`.${view}`), pictures[i], 0, 0, width, height).setAttribute("aria-label", `${value.words}, ${view} images`);
    });
    find("output").textContent = value.words;
  }
}

// The noise levels of a run over its evaluations, on a logarithmic axis.
function schedule({ sigmas, evaluations, of }) {
  const logs = sigmas.map(Math.log);
  const [low, high] = [Math.log(0.005), Math.log(50)];
  const points = logs.map((log, i) => `${(100 * evaluations[i]) / of},${(30 * (high - log)) / (high - low)}`);
  return `<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label="Noise levels"><polyline points="0,${points[0].split(",")[1]} ${points.join(" ")}"/></svg>`;
}

// Keeps the samples, whichever step is shown: they are what the words are about.
function pin() {
  const [done, of] = [data.evaluations.at(-1), data.of];
  const pins = find(".pins");
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = paintStep(document.createElement("canvas"), lastStep(), 0).toDataURL();
  picture.alt = `Images: ${data.title}`;
  const words = document.createElement("p");
  const count = `${done < of ? `stopped at ${done} of ` : ""}${of} evaluation${of > 1 ? "s" : ""}`;
  words.textContent = [data.title, `${count} in ${data.seconds.toFixed(1)} s`, data.read].filter(Boolean).join(" · ");
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "unpin";
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove ${data.title}`);
  item.append(picture);
  item.insertAdjacentHTML("beforeend", schedule(data));
  item.append(words, remove);
  pins.append(item);
  while (pins.children.length > MOST_PINS) pins.firstElementChild.remove();
}

// The focus goes to the run beside it; from the last one, to the button that pins.
function unpin(item) {
  const beside = item.nextElementSibling ?? item.previousElementSibling;
  (beside?.querySelector(".unpin") ?? find(".pin")).focus();
  item.remove();
}

element.addEventListener("input", (event) => {
  if (event.target.matches("input") && data) {
    pause();
    draw(Number(event.target.value));
  }
});
element.addEventListener("click", (event) => {
  if (event.target.closest(".play") && data) timer ? pause() : play();
  if (event.target.closest(".pin") && data) pin();
  if (event.target.closest(".unpin")) unpin(event.target.closest("li"));
});
watch("value", load);
load();
