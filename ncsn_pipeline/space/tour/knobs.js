// A number and its slider show the same value; the slider's scale is logarithmic, as every range spans decades.
const numberOf = (slider) => element.querySelector(`#${slider.dataset.for}`);
const ends = (number) => [Number(number.min), Number(number.max)];

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
const restart = () => {
  for (const input of element.querySelectorAll("input[name]")) input.value = input.defaultValue;
  for (const slider of element.querySelectorAll("input[type=range]")) toSlider(slider);
};
element.addEventListener("input", ({ target }) => {
  if (target.type === "range") toNumber(target);
  else {
    const slider = element.querySelector(`[data-for="${target.id}"]`);
    if (slider) toSlider(slider);
  }
});
element.addEventListener("restart", restart);
restart();
watch("value", restart);
