// A number and its slider show the same value; the slider's scale is logarithmic, as every range spans decades.
// What was set is kept for every claim, and that of the claim in sight stands in the page's address.
const numberOf = (slider) => element.querySelector(`#${slider.dataset.for}`);
const ends = (number) => [Number(number.min), Number(number.max)];
const inputs = () => element.querySelectorAll("input[name]");
const claim = () => element.querySelector(".lecture-knobs").dataset.name;

const PREFIX = "lecture.";

const fromAddress = () => {
  const ours = Array.from(new URL(location.href).searchParams).filter(([key]) => key.startsWith(PREFIX));
  const asked = Object.fromEntries(ours.map(([key, value]) => [key.slice(PREFIX.length), value]));
  const { experiment = claim(), ...values } = asked;
  return new Map([[experiment, values]]);
};
const kept = (window.lectureKnobs ??= fromAddress());

const toSlider = (slider) => {
  const number = numberOf(slider);
  const [low, high] = ends(number);
  const share = Math.log(Number(number.value) / low) / Math.log(high / low);
  slider.value = Number.isFinite(share) ? Math.round(share * slider.max) : 0;
  slider.setAttribute("aria-valuetext", number.value);
};
const toNumber = (slider) => {
  const number = numberOf(slider);
  const [low, high] = ends(number);
  const value = Number((low * (high / low) ** (slider.value / slider.max)).toPrecision(2));
  number.value = Math.min(Math.max(number.step === "1" ? Math.round(value) : value, low), high);
  slider.setAttribute("aria-valuetext", number.value);
};
const show = () => {
  const values = kept.get(claim()) ?? {};
  for (const input of inputs()) input.value = values[input.name] ?? input.defaultValue;
  for (const slider of element.querySelectorAll("input[type=range]")) toSlider(slider);
};
const writeAddress = () => {
  const url = new URL(location.href);
  for (const key of Array.from(url.searchParams.keys())) {
    if (key.startsWith(PREFIX) && key !== `${PREFIX}experiment`) url.searchParams.delete(key);
  }
  for (const [name, value] of Object.entries(kept.get(claim()) ?? {})) url.searchParams.set(PREFIX + name, value);
  history.replaceState(history.state, "", url);
};
const keep = () => {
  const set = Array.from(inputs()).filter((input) => input.value !== input.defaultValue);
  kept.set(claim(), Object.fromEntries(set.map((input) => [input.name, input.value])));
  writeAddress();
};
element.addEventListener("input", ({ target }) => {
  if (target.type === "range") toNumber(target);
  else {
    const slider = element.querySelector(`[data-for="${target.id}"]`);
    if (slider) toSlider(slider);
  }
  keep();
});
element.addEventListener("restart", () => {
  kept.delete(claim());
  show();
  writeAddress();
});
show();
watch("value", () => {
  show();
  writeAddress();
});
