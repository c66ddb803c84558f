// Bars beside each other for each group: its true share, and those of the plain and the annealed particles.  The whisker
// on the true share is two standard errors of as many independent draws: what lies within it may be chance.

const SERIES = ["true", "plain", "annealed"];
const percent = (share) => `${Math.round(100 * share)}`;

class Bars {
  constructor(element) {
    this.element = element;
  }

  // One set of bars per group; with few groups there is room for numbers.
  setGroups(shares, particles) {
    this.shares = shares;
    this.element.classList.toggle("numbered", shares.length <= 4);
    this.element.replaceChildren(
      ...Array.from(shares, (_, group) => {
        const set = document.createElement("div");
        const columns = document.createElement("div");
        columns.className = "columns";
        for (const name of SERIES) {
          const column = document.createElement("div");
          const bar = document.createElement("span");
          bar.className = `bar ${name}`;
          if (name === "true") {
            const whisker = document.createElement("i");
            bar.style.setProperty("--whisker", ((2 * standardError(shares[group], particles)) / shares[group]).toFixed(4));
            bar.append(whisker);
          }
          column.append(document.createElement("b"), bar);
          columns.append(column);
        }
        const name = document.createElement("span");
        name.textContent = groupName(group);
        set.append(columns, name);
        return set;
      }),
    );
    this.columns = Array.from(this.element.children, (set) => Array.from(set.querySelector(".columns").children));
  }

  update(plain, annealed) {
    const most = Math.max(...this.shares, ...plain, ...annealed);
    const series = [this.shares, plain, annealed];
    this.columns.forEach((columns, group) =>
      columns.forEach((column, i) => {
        column.lastChild.style.setProperty("--height", (series[i][group] / most).toFixed(4));
        column.firstChild.textContent = percent(series[i][group]);
      }),
    );
    const words = SERIES.map((name, i) => `${name} ${Array.from(series[i], percent).join(", ")}`).join("; ");
    this.element.setAttribute("aria-label", `Percent of the particles in each mode: ${words}`);
  }
}
