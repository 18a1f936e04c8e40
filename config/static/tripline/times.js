// Times are sent in UTC and shown in the reader's zone, in what comes later too.
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (time.title || isNaN(moment)) continue;
    time.title = moment.toISOString();
    if (time.hasAttribute("data-age")) {
      time.title = moment.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
      continue;
    }
    const style = time.hasAttribute("data-short") ? "short" : "medium";
    time.textContent = moment.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: style });
  }
}
localize(document);
// The server learns it too: where days count, they are the reader's.
document.cookie = `zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}; path=/; max-age=31536000; samesite=lax`;
document.addEventListener("htmx:load", (event) => localize(event.target));
