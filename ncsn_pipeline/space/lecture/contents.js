// The list of claims: the value is the name of the one that is shown.
const buttons = Array.from(element.querySelectorAll("button[data-name]"));
const details = element.querySelector("details");
const narrow = matchMedia("(max-width: 767px)");

const mark = () => {
  for (const button of buttons) {
    if (button.dataset.name === props.value) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
};
for (const button of buttons) {
  button.addEventListener("click", () => {
    props.value = button.dataset.name;
    mark();
    if (narrow.matches) details.open = false;
  });
}
// Up and down walk through the list, as in a menu; Tab does too.
element.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)].focus();
});
details.open = !narrow.matches;
mark();
watch("value", mark);
