// A click on a variable writes it where the cursor was, in the last text of its action that one was in.
const places = new WeakMap();
document.addEventListener("focusin", (event) => {
  const action = event.target.closest(".action");
  if (action && event.target.matches("[data-template]")) places.set(action, event.target);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert]");
  const action = button && button.closest(".action");
  if (!action) return;
  const known = places.get(action);
  const field = known && action.contains(known) ? known : action.querySelector("[data-template]");
  if (!field) return;
  const name = button.dataset.insert.replace("*", "KEY");
  field.setRangeText(`\${${name}}`, field.selectionStart, field.selectionEnd, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
