// What Gradio's own parts leave to wish for by keyboard and screen reader. Run once, when the page opens.
() => {
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
  let scheduled = false;
  const improve = () => {
    scheduled = false;
    group();
    announce();
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
