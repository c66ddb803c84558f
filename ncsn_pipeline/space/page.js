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
  const SAID = ["#preset-note", "#learn-preset-note", "#repair-note", "#tour-heading"];
  const announce = () => {
    for (const element of document.querySelectorAll(SAID.join())) if (!element.ariaLive) element.ariaLive = "polite";
  };
  // A button that is pressed and then disabled hands the focus to the one beside it that takes over: Stop, or the start.
  let last = null;
  document.addEventListener("focusin", ({ target }) => (last = target));
  const handOver = (button) => {
    if (button !== last || !button.disabled) return;
    requestAnimationFrame(() => {
      if (document.activeElement !== document.body && document.activeElement !== button) return;
      const others = Array.from(button.parentElement.querySelectorAll("button:not(:disabled)"));
      (others.find((other) => other.matches(".stop, .primary")) ?? others[0])?.focus({ preventScroll: true });
    });
  };
  let scheduled = false;
  const improve = () => {
    scheduled = false;
    group();
    announce();
  };
  new MutationObserver((mutations) => {
    for (const { type, target } of mutations) if (type === "attributes") handOver(target);
    if (!scheduled && mutations.some(({ type }) => type === "childList")) {
      scheduled = true;
      requestAnimationFrame(improve);
    }
  }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"] });
  improve();
}
