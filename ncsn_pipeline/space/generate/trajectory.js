// Draws one step of a run out of the strip that holds them all; dragging, arrow keys and the play button choose it.
const MILLISECONDS = 90;
let strip = null;
let data = null;
let timer = null;
let shown = 0;

const find = (selector) => element.querySelector(selector);

function draw(step) {
  shown = step;
  const { columns, width, height, evaluations, sigmas, of } = data;
  const left = (step % columns) * width;
  const top = Math.floor(step / columns) * 2 * height;
  const words = `Evaluation ${evaluations[step]} of ${of}, σ = ${Number(sigmas[step].toPrecision(3))}`;
  [".noisy", ".denoised"].forEach((view, i) => {
    const canvas = find(view);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(strip, left, top + i * height, width, height, 0, 0, width, height);
    canvas.setAttribute("aria-label", `${words}: ${i ? "denoised" : "noisy"} images`);
  });
  const slider = find("input");
  slider.max = evaluations.length - 1;
  slider.value = step;
  slider.setAttribute("aria-valuetext", words);
  find("output").textContent = words;
  find(".player").dataset.evaluation = evaluations[step];
}

function pause() {
  clearInterval(timer);
  timer = null;
  const button = find(".play");
  if (button) {
    button.textContent = "▶";
    button.setAttribute("aria-label", "Play the trajectory");
  }
}

function play() {
  const last = data.evaluations.length - 1;
  if (shown === last) draw(0);
  timer = setInterval(() => {
    if (!element.isConnected || shown >= last) return pause();
    draw(shown + 1);
  }, MILLISECONDS);
  find(".play").textContent = "❚❚";
  find(".play").setAttribute("aria-label", "Pause the trajectory");
}

function load() {
  pause();
  const value = props.value;
  if (!value || !value.strip) return;
  const image = new Image();
  image.onload = () => {
    if (value !== props.value) return; // a newer run's is on its way
    strip = image;
    data = value;
    draw(data.evaluations.length - 1);
  };
  image.src = value.strip.url;
}

// The template is drawn anew with every value, so listen where it is drawn into.
element.addEventListener("input", (event) => {
  if (event.target.matches("input") && data) {
    pause();
    draw(Number(event.target.value));
  }
});
element.addEventListener("click", (event) => {
  if (event.target.closest(".play") && data) timer ? pause() : play();
});
watch("value", load);
load();
