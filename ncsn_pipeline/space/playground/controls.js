// The native inputs of the settings: they show what the settings hold, and change them.

const LOG_STEPS = 400; // of a slider on a logarithmic scale
const withCommas = (value) => value.toLocaleString("en");
const WORDS = { particles: withCommas };
const shortNumber = (value) => String(Number(value.toPrecision(2)));

class Controls {
  // `changing(name)` is called while a slider moves, `changed(name)` when it comes to rest.
  constructor(root, settings, changing, changed) {
    this.settings = settings;
    this.inputs = Array.from(root.querySelectorAll("[data-setting]"));
    this.densities = this.addDensities(root.querySelector(".densities"), changed);
    for (const input of this.inputs) {
      const name = input.dataset.setting;
      if (input.type === "range") {
        const { min, max, log } = RANGES[name];
        Object.assign(input, log ? { min: 0, max: LOG_STEPS } : { min, max });
      }
      input.addEventListener("input", () => {
        this.read(input);
        changing(name);
      });
      input.addEventListener("change", () => changed(name));
    }
  }

  addDensities(element, changed) {
    return Object.entries(SHAPES).map(([name, shape]) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: shape.name });
      button.addEventListener("click", () => {
        this.settings.density = name;
        changed("density");
      });
      element.append(button);
      return [name, button];
    });
  }

  read(input) {
    const name = input.dataset.setting;
    if (input.type === "checkbox") {
      this.settings[name] = input.checked;
      return;
    }
    const { min, max, log } = RANGES[name];
    const value = Number(input.value);
    this.settings[name] = inRange(name, log ? min * (max / min) ** (value / LOG_STEPS) : value);
    if (name === "max" || name === "min" || name === "levels") this.settings.sigmas = null;
  }

  // Shows the settings in every input.
  show() {
    for (const input of this.inputs) {
      const name = input.dataset.setting;
      const value = this.settings[name];
      if (input.type === "checkbox") {
        input.checked = value;
        continue;
      }
      const { min, max, log } = RANGES[name];
      input.value = log ? Math.round((LOG_STEPS * Math.log(value / min)) / Math.log(max / min)) : value;
      const words = (WORDS[name] ?? shortNumber)(value);
      input.setAttribute("aria-valuetext", words);
      input.parentElement.querySelector("b").textContent = words;
    }
    for (const [name, button] of this.densities) button.setAttribute("aria-pressed", name === this.settings.density);
  }
}
