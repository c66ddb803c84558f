// What Gradio's own parts leave to wish for by keyboard and screen reader. Run once, when the page opens.
() => {
  // Parts come one after another and push each other about: the page is shown, and the poster gone, when it stands.
  const STANDS_FOR = 100; // milliseconds, and
  const FRAMES = 9; // frames, which take longer on a machine that is busy with the parts to come
  const AT_MOST = 15000;
  const began = performance.now();
  let since = began;
  let frames = 0;
  let before = "";
  const compose = () => {
    const now = performance.now();
    const { scrollHeight: height } = document.documentElement;
    const loaded = performance.getEntriesByType("resource").length;
    const elements = document.getElementsByTagName("*").length;
    const after = [window.tabOpened, document.fonts.status, height, elements, loaded].join();
    if (after !== before) [before, since, frames] = [after, now, 0];
    const complete = window.tabOpened && document.fonts.status === "loaded";
    const stands = ++frames > FRAMES && now - since > STANDS_FOR;
    if ((complete && stands) || now - began > AT_MOST) {
      document.body.dataset.composed = complete && stands ? "" : "late"; // it may still move then
      performance.mark("usable");
    } else requestAnimationFrame(compose);
  };
  compose();
  // The radio buttons of a question are one group: arrow keys choose, Tab goes on, and the group has its question's name.
  const group = () => {
    for (const [i, fieldset] of document.querySelectorAll("fieldset").entries()) {
      const radios = fieldset.querySelectorAll("input[type=radio]");
      for (const radio of radios) if (radio.name !== `choice-${i}`) radio.name = `choice-${i}`;
      const question = fieldset.querySelector('[data-testid="block-info"]')?.textContent.trim();
      if (radios.length && question && !fieldset.ariaLabel) fieldset.ariaLabel = question;
    }
  };
  // What is said of a choice is read out when it changes.
  const SAID = ["#preset-note", "#learn-preset-note", "#repair-note", "#lecture-heading"];
  const announce = () => {
    for (const element of document.querySelectorAll(SAID.join())) if (!element.ariaLive) element.ariaLive = "polite";
  };
  // A button that is pressed and then disabled hands the focus to the one beside it that takes over: Stop, or the start.
  let last = null;
  document.addEventListener("focusin", ({ target }) => (last = target));
  const handOver = () => {
    if (!last?.disabled || (document.activeElement !== document.body && document.activeElement !== last)) return;
    const others = Array.from(last.parentElement.querySelectorAll("button:not(:disabled)"));
    const next = others.find((other) => other.matches(".stop, .primary"));
    (next ?? (last.matches(".stop, .primary") ? null : others[0]))?.focus({ preventScroll: true });
  };
  // Quantities whose factors matter: the same way on the slider is the same factor.  One that may be 0 too is so at the
  // left end, and begins with a step of its grid a little further.
  const ROOM_FOR_ZERO = 0.04;
  const logarithmic = () => {
    for (const theirs of document.querySelectorAll(".logarithmic input[type=range]:not([data-logarithmic])")) {
      const box = theirs.closest(".logarithmic").querySelector("input[type=number]");
      const [low, high, step] = [theirs.min, theirs.max, theirs.step].map(Number);
      const digits = (theirs.step.split(".")[1] ?? "").length;
      const grid = (value) => Math.min(Math.max(Number((Math.round(value / step) * step).toFixed(digits)), low), high);
      const ours = theirs.cloneNode();
      ours.dataset.logarithmic = "";
      const [least, start] = low > 0 ? [low, 0] : [step, ROOM_FOR_ZERO];
      const placeOf = (value) =>
        value < least ? 0 : start + ((1 - start) * Math.log(value / least)) / Math.log(high / least);
      const valueAt = (place) => (place < start ? low : least * (high / least) ** ((place - start) / (1 - start)));
      [ours.min, ours.max, ours.step] = [0, 1, 0.001];
      const show = () => {
        const value = Math.min(Math.max(Number(box.value) || low, low), high);
        const place = placeOf(value);
        if (document.activeElement !== ours || grid(valueAt(Number(ours.value))) !== value) ours.value = place;
        ours.style.setProperty("--range_progress", `${100 * place}%`);
        ours.setAttribute("aria-valuetext", box.value);
      };
      const take = (value) => {
        box.value = grid(Number(value.toPrecision(3)));
        box.dispatchEvent(new Event("input", { bubbles: true }));
        show();
      };
      ours.addEventListener("input", (event) => {
        event.stopPropagation();
        take(valueAt(Number(ours.value)));
      });
      ours.addEventListener("keydown", (event) => {
        const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
        if (!way) return;
        event.preventDefault();
        const value = Number(box.value);
        const next = grid(Number((value * (high / least) ** (way / 100)).toPrecision(3)));
        take(next === value ? value + Math.sign(way) * step : next);
      });
      // Gradio's own is kept out of sight: it is told of every value, and says so by its style.
      new MutationObserver(show).observe(theirs, { attributes: true, attributeFilter: ["style"] });
      theirs.replaceWith(ours);
      show();
    }
  };
  // In a frame the address of the page is not that of the browser: a button copies it.
  const copy = async () => {
    const tab = document.querySelector('[role=tab][aria-selected="true"]')?.textContent.trim();
    const [said, field] = ["span", "input"].map((name) => document.querySelector(`.copy-link ${name}`));
    field.value = location.href;
    let copied = true;
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      field.hidden = false; // a frame may not write to the clipboard
      field.select();
      copied = document.execCommand("copy");
    }
    field.hidden = copied;
    if (!copied) field.select();
    said.textContent = copied ? `A link to ${tab} as it is set now is copied.` : `The link to ${tab} as it is set now:`;
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest(".copy-link button")) copy();
  });
  // Back and forward go from view to view: each choice of a tab or a claim was an entry of the history.  What follows
  // from going there writes no new entry.
  addEventListener("popstate", () => {
    window.traversed = true;
    const query = new URL(location.href).searchParams;
    const tabs = Array.from(document.querySelectorAll("[role=tab][data-tab-id]"));
    (tabs.find((tab) => tab.dataset.tabId === query.get("tab")) ?? tabs[0])?.click();
    const claims = document.querySelectorAll("#lecture-contents [data-name]");
    const wanted = query.get("lecture.experiment") ?? claims[0]?.dataset.name;
    const claim = Array.from(claims).find((claim) => claim.dataset.name === wanted);
    if (claim && !claim.hasAttribute("aria-current")) claim.click();
  });
  for (const name of ["click", "keydown"]) {
    document.addEventListener(name, ({ isTrusted }) => isTrusted && (window.traversed = false), true);
  }
  // Settings are no places: they stay as they are, and the address that is gone back to names them, for the next link.
  window.navigation?.addEventListener("currententrychange", ({ navigationType, from }) => {
    if (navigationType !== "traverse") return;
    const isPlace = (name) => name === "tab" || name.startsWith("lecture.");
    const [here, left] = [new URL(location.href), new URL(from.url)];
    for (const name of [...here.searchParams.keys()]) if (!isPlace(name)) here.searchParams.delete(name);
    for (const [name, value] of left.searchParams) if (!isPlace(name)) here.searchParams.append(name, value);
    if (here.href !== location.href) history.replaceState(history.state, "", here);
  });
  // A telephone's photograph is larger than the server takes, and far larger than what is made of it.
  const MOST_SIDE = 1200;
  const scaled = async (file) => {
    const picture = await createImageBitmap(file);
    const factor = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
    if (factor === 1) return file;
    const canvas = new OffscreenCanvas(Math.round(factor * picture.width), Math.round(factor * picture.height));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return new File([await canvas.convertToBlob()], file.name.replace(/\.\w+$/, ".png"), { type: "image/png" });
  };
  document.addEventListener(
    "change",
    async (event) => {
      const input = event.target;
      if (!input.matches?.(".repair-examples input[type=file]") || !input.files.length || event.isScaled) return;
      event.stopImmediatePropagation();
      const files = new DataTransfer();
      files.items.add(await scaled(input.files[0]).catch(() => input.files[0])); // the server says what is no picture
      input.files = files.files;
      input.dispatchEvent(Object.assign(new Event("change", { bubbles: true }), { isScaled: true }));
    },
    true
  );
  let scheduled = false;
  const improve = () => {
    scheduled = false;
    group();
    announce();
    logarithmic();
  };
  new MutationObserver((mutations) => {
    if (mutations.some(({ type }) => type === "attributes")) requestAnimationFrame(handOver);
    if (!scheduled && mutations.some(({ type }) => type === "childList")) {
      scheduled = true;
      requestAnimationFrame(improve);
    }
  }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"] });
  improve();
}
