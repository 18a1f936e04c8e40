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

// What is filled in while the form is on its way is carried over: the answer knows only what was sent.
let meanwhile = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, requestConfig } = event.detail;
  const form = target.id === "rule" && target.closest("form");
  if (!form) return;
  const now = new FormData(form);
  const names = new Set(Array.from(target.querySelectorAll("[name]"), (field) => field.name));
  const same = (name) => String(now.getAll(name)) === String(requestConfig.formData.getAll(name));
  meanwhile = [...names].filter((name) => !same(name)).map((name) => [name, now.getAll(name)]);
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "rule") return;
  const carried = meanwhile;
  meanwhile = [];
  for (const [name, values] of carried) {
    for (const field of event.target.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (field.matches("button, [type=hidden]")) continue;
      if (field.matches("[type=checkbox], [type=radio]")) field.checked = values.includes(field.value);
      else field.value = values[0] ?? "";
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  }
});
