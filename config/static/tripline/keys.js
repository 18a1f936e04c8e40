// "/" goes to the search box; Escape and a click elsewhere close a menu.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeMenus(null);
  const busy = event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
  const box = document.querySelector(".find input");
  if (event.key === "/" && box && !busy) {
    event.preventDefault();
    box.focus();
  }
});
document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
function closeMenus(other) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu === other) continue;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
}
