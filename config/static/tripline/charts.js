// Draws the metrics of a run, or of several beside each other.
//
// The page says what there is: every [data-line] is a run with the address of its series, every
// figure[data-name] a metric. A figure is loaded when it scrolls into view, thinned to what its width can
// show; while a run runs, it is asked every two seconds whether there is more. A figure[data-drawing] brings
// its picture along.
(() => {
  "use strict";
  const EVERY = 2000;
  const MARKS_LISTED = 4;
  const plots = new Map();
  const view = { smoothing: 0, log: false, ranges: {}, marks: [], thresholds: [] };
  const lines = () => [...document.querySelectorAll("[data-line]")];
  const word = (name) => document.querySelector(`[data-${name}]`)?.dataset[name] || "";

  // --- Colours: the style sheet's, as a canvas understands them ---
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function colour(name, opacity = 1) {
    probe.style.color = `var(--${name})`;
    const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
    return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
  }

  // --- Numbers ---
  const isNumber = (value) => typeof value === "number";
  function readable(value) {
    if (!isNumber(value)) return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
    return String(Number(value.toPrecision(5)));
  }

  // Of the values before it, weighted less the older they are; a gap stays a gap.
  function smoothed(points, weight) {
    let sum = 0, share = 0;
    return points.map(({ x, y }) => {
      if (y === null) return { x, y };
      sum = sum * weight + y * (1 - weight);
      share = share * weight + (1 - weight);
      return { x, y: sum / share };
    });
  }

  const place = (step, value) => ({ x: step, y: isNumber(value) && !(view.log && value <= 0) ? value : null });

  // --- One metric ---
  class Plot {
    constructor(figure) {
      this.figure = figure;
      this.name = figure.dataset.name;
      this.source = figure.dataset.source;
      this.wanted = (figure.dataset.lines || "").split(" ").filter(Boolean).map(Number);
      this.series = [];
      this.round = 0;
      this.isSeen = false;
      this.isStale = true;
      this.canvas = figure.querySelector("canvas");
      this.listen();
    }

    get key() { return `${this.source}/${this.name}`; }
    get range() { return view.ranges[this.source] || null; }
    get smoothing() { return view.smoothing; }
    get marks() { return view.marks.filter((mark) => mark.source === this.source && mark.metric === this.name); }
    get thresholds() { return view.thresholds.filter((one) => one.source === this.source && one.metric === this.name); }

    seen(isSeen) {
      this.isSeen = isSeen;
      if (isSeen && this.isStale) this.load();
    }

    invalidate() {
      this.isStale = true;
      if (this.isSeen) this.load();
    }

    async load() {
      this.isStale = false;
      const round = ++this.round;
      const found = await Promise.all(this.wanted.map((number) => this.fetch(number)));
      if (round !== this.round) return; // asked again meanwhile
      if (found.includes(null)) this.isStale = true;
      this.series = found.filter(Boolean);
      this.draw();
    }

    async fetch(number) {
      const query = new URLSearchParams({ name: this.name, source: this.source, max_points: this.wanted.length > 1 ? 300 : 500 });
      ["step_min", "step_max"].forEach((name, i) => { if (this.range && this.range[i] !== null) query.set(name, this.range[i]); });
      try {
        const answer = await fetch(`${lines()[number].dataset.url}?${query}`);
        return answer.ok ? { number, ...(await answer.json()) } : null;
      } catch {
        return null; // the server is away; the next round asks again
      }
    }

    datasets() {
      return this.series.flatMap((one) => {
        const name = `series-${(one.number % 10) + 1}`;
        const points = one.steps.map((step, i) => place(step, one.values[i])).sort((a, b) => a.x - b.x);
        const label = one.label ?? lines()[one.number].dataset.line;
        const line = { label, data: points, borderColor: colour(name, one.faint ? 0.7 : 1), backgroundColor: colour(name), borderWidth: one.faint ? 1 : 1.6, borderDash: one.number % 10 > 4 ? [5, 3] : [] };
        if (!this.smoothing) return [line];
        return [
          { ...line, data: smoothed(points, this.smoothing) },
          { ...line, borderColor: colour(name, 0.28), borderWidth: 1, isRaw: true },
        ];
      });
    }

    // What is no finite number, with the step at which it was logged.
    odd() {
      return this.series.flatMap((one) => one.values.flatMap((value, i) => (isNumber(value) || value === null ? [] : [{ step: one.steps[i], value, number: one.number }])));
    }

    draw() {
      const options = this.options();
      if (this.chart) {
        this.chart.data.datasets = this.datasets();
        this.chart.options = options;
        this.chart.update("none");
      } else {
        this.chart = new Chart(this.canvas, { type: "line", data: { datasets: this.datasets() }, options, plugins: [{ afterDatasetsDraw: (chart) => this.decorate(chart) }] });
      }
      this.list();
      const { dataset } = this.figure;
      dataset.state = "drawn";
      dataset.points = this.series.reduce((sum, one) => sum + one.steps.length, 0);
      dataset.marks = this.marks.length;
      dataset.first = this.series.length ? Math.min(...this.series.map((one) => Math.min(...one.steps))) : "";
    }

    options() {
      const faint = colour("faint"), grid = { color: colour("line") }, font = { size: 11 };
      const [min, max] = (this.range || [null, null]).map((end) => end ?? undefined);
      return {
        animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true, spanGaps: false,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        elements: { point: { radius: lonely, hitRadius: 6, hoverRadius: 4 } },
        plugins: { legend: { display: false }, tooltip: { filter: (item) => !item.dataset.isRaw, callbacks: { title: (items) => (items.length ? `${word("step")} ${items[0].parsed.x}` : ""), label: (item) => `${item.dataset.label}: ${readable(item.parsed.y)}` } } },
        scales: {
          x: { type: "linear", bounds: "data", min, max, afterBuildTicks: thinned, ticks: { color: faint, font, maxRotation: 0, autoSkipPadding: 16, precision: 0, includeBounds: false }, grid: { display: false } },
          y: { type: view.log ? "logarithmic" : "linear", ...this.room(), ticks: { color: faint, font, maxTicksLimit: 6, callback: (value) => readable(value) }, grid, border: { display: false } },
        },
      };
    }

    // A threshold that is near the values is in the picture; one that is far away would flatten them.
    room() {
      const values = this.series.flatMap((one) => one.values.filter(isNumber));
      if (!values.length) return {};
      const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
      const span = high - low || Math.abs(high) || 1;
      const near = this.thresholds.map((one) => one.value).filter((value) => value >= low - span && value <= high + span);
      return { suggestedMin: Math.min(low, ...near), suggestedMax: Math.max(high, ...near) };
    }

    decorate(chart) {
      const { ctx, chartArea: area, scales: { x, y } } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left - 6, area.top - 8, area.width + 12, area.height + 16);
      ctx.clip();
      ctx.font = "11px system-ui, sans-serif";
      for (const { value } of this.thresholds) {
        const at = y.getPixelForValue(value);
        if (!(at >= area.top && at <= area.bottom)) continue;
        stroke(ctx, colour("warn"), [6, 4], area.left, at, area.right, at);
        ctx.fillStyle = colour("warn");
        ctx.textAlign = "right";
        ctx.lineWidth = 3;
        ctx.strokeStyle = colour("paper", 0.85);
        const line = at - 14 < area.top ? at + 12 : at - 4; // beside the line, and never above the picture
        ctx.strokeText(readable(value), area.right - 2, line);
        ctx.fillText(readable(value), area.right - 2, line);
      }
      for (const { step } of this.marks) {
        const at = x.getPixelForValue(step);
        stroke(ctx, colour("bad"), [2, 2], at, area.top, at, area.bottom);
        triangle(ctx, colour("bad"), at, area.top);
      }
      for (const { step, value } of this.odd()) {
        const at = x.getPixelForValue(step), isHigh = value === "Infinity";
        ctx.fillStyle = colour("bad");
        ctx.textAlign = "center";
        ctx.fillText(value === "NaN" ? "×" : isHigh ? "↑" : "↓", at, isHigh ? area.top + 10 : area.bottom - 3);
      }
      if (this.drag) {
        ctx.fillStyle = colour("series-1", 0.15);
        ctx.fillRect(Math.min(this.drag.from, this.drag.to), area.top, Math.abs(this.drag.to - this.drag.from), area.height);
      }
      ctx.restore();
    }

    // The same in words, with links.
    list() {
      const items = [];
      const marks = this.marks;
      for (const mark of marks.slice(0, MARKS_LISTED)) items.push(item("▼", "fired", `${mark.label} · ${word("step")} ${mark.step}`, mark.url));
      if (marks.length > MARKS_LISTED) items.push(item("▼", "fired", `+ ${marks.length - MARKS_LISTED}`, ""));
      for (const one of this.thresholds) items.push(item("┄", "threshold", `${one.label} · ${readable(one.value)}`, one.url));
      const odd = this.odd();
      for (const value of new Set(odd.map((one) => one.value))) {
        const first = odd.find((one) => one.value === value);
        items.push(item(value === "NaN" ? "×" : "↕", "odd", `${value} · ${word("step")} ${first.step}`, ""));
      }
      this.figure.querySelector(".marks").replaceChildren(...items);
      const last = this.series.length === 1 && this.series[0].text;
      if (last) this.figure.querySelector(".reading").textContent = last;
    }

    // --- Choosing a range with the pointer, and following a marker ---
    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => {
        if (!this.chart || event.button !== 0) return;
        canvas.setPointerCapture(event.pointerId);
        this.drag = { from: event.offsetX, to: event.offsetX };
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!this.drag) return;
        this.drag.to = event.offsetX;
        this.chart.draw();
      });
      canvas.addEventListener("pointercancel", () => { this.drag = null; if (this.chart) this.chart.draw(); });
      canvas.addEventListener("pointerup", () => {
        if (!this.drag) return;
        const { from, to } = this.drag, axis = this.chart.scales.x;
        this.drag = null;
        if (Math.abs(to - from) < 6) return this.follow(from);
        const ends = [from, to].map((at) => axis.getValueForPixel(at)).sort((a, b) => a - b);
        choose(this.source, [Math.ceil(ends[0]), Math.max(Math.ceil(ends[0]), Math.floor(ends[1]))]);
      });
      canvas.addEventListener("dblclick", () => choose(this.source, null));
    }

    follow(at) {
      const mark = this.marks.find((one) => Math.abs(this.chart.scales.x.getPixelForValue(one.step) - at) < 6);
      if (mark && mark.url) location.assign(mark.url);
      else this.chart.draw();
    }

    forget() {
      if (this.chart) this.chart.destroy();
    }
  }

  // The first and the last step are ticks too; the ones beside them need room.
  function thinned({ ticks }) {
    const gap = (i) => ticks[i + 1].value - ticks[i].value;
    if (ticks.length < 4) return;
    if (gap(ticks.length - 2) < gap(1) / 2) ticks.splice(-2, 1);
    if (gap(0) < gap(1) / 2) ticks.splice(1, 1);
  }

  // --- A picture that the page brings along ---
  class Drawing extends Plot {
    constructor(figure) {
      super(figure);
      this.told = JSON.parse(figure.dataset.drawing);
    }

    get key() { return ""; }
    get range() { return null; }
    get smoothing() { return 0; }
    get marks() { return this.told.marks; }
    get thresholds() { return this.told.thresholds; }

    load() {
      this.isStale = false;
      this.series = this.told.lines.map((line, number) => ({ number, ...line }));
      this.draw();
    }

    listen() {}
  }

  // A value between two gaps has no line: it is shown as a dot.
  function lonely({ dataIndex, dataset }) {
    const at = (i) => dataset.data[i] && dataset.data[i].y !== null;
    return dataset.data.length === 1 || (at(dataIndex) && !at(dataIndex - 1) && !at(dataIndex + 1)) ? 2.5 : 0;
  }

  function stroke(ctx, style, dash, ...ends) {
    ctx.beginPath();
    ctx.setLineDash(dash);
    ctx.strokeStyle = style;
    ctx.lineWidth = 1;
    ctx.moveTo(ends[0], ends[1]);
    ctx.lineTo(ends[2], ends[3]);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  function triangle(ctx, style, x, top) {
    ctx.fillStyle = style;
    ctx.beginPath();
    ctx.moveTo(x - 5, top - 7);
    ctx.lineTo(x + 5, top - 7);
    ctx.lineTo(x, top + 1);
    ctx.fill();
  }

  function item(sign, kind, text, url) {
    const row = document.createElement("li"), mark = document.createElement("span"), words = document.createElement(url ? "a" : "span");
    mark.className = kind;
    mark.textContent = sign;
    mark.setAttribute("aria-hidden", "true");
    words.textContent = text;
    if (url) words.href = url;
    row.append(mark, " ", words);
    return row;
  }

  // --- What applies to all charts ---
  function choose(source, range) {
    view.ranges[source] = range;
    showRange();
    for (const plot of plots.values()) if (plot.source === source) plot.invalidate();
  }

  function showRange() {
    const { first, last } = document.getElementById("tools").elements;
    [first.value, last.value] = (view.ranges.history || [null, null]).map((end) => end ?? "");
    document.getElementById("all-steps").hidden = !Object.values(view.ranges).some(Boolean);
  }

  function redraw() {
    for (const plot of plots.values()) if (plot.chart) plot.draw();
  }

  function tools() {
    const form = document.getElementById("tools");
    if (!form || !form.hidden) return;
    const { smoothing, log, first, last } = form.elements;
    form.hidden = false;
    // The form may be new while what was chosen is not.
    smoothing.value = view.smoothing * 100;
    log.checked = view.log;
    showRange();
    form.addEventListener("submit", (event) => event.preventDefault());
    smoothing.addEventListener("input", () => {
      view.smoothing = Number(smoothing.value) / 100;
      form.querySelector("output").textContent = view.smoothing ? view.smoothing.toFixed(2) : "–";
      redraw();
    });
    log.addEventListener("change", () => { view.log = log.checked; redraw(); });
    // Either end may be left open.
    const typed = () => {
      const ends = [first, last].map((field) => (field.value === "" ? null : Math.round(Number(field.value))));
      const isTurned = ends[0] !== null && ends[1] !== null && ends[0] > ends[1];
      if (!isTurned) choose("history", ends.every((end) => end === null) ? null : ends);
    };
    first.addEventListener("change", typed);
    last.addEventListener("change", typed);
    document.getElementById("all-steps").addEventListener("click", () => Object.keys(view.ranges).forEach((source) => choose(source, null)));
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) plots.get(entry.target)?.seen(entry.isIntersecting);
  }, { rootMargin: "150px" });

  // Figures come and go when a part of the page is loaded anew.
  function adopt() {
    for (const [figure, plot] of plots) {
      if (figure.isConnected) continue;
      watcher.unobserve(figure);
      plot.forget();
      plots.delete(figure);
    }
    for (const figure of document.querySelectorAll("figure[data-name], figure[data-drawing]")) {
      if (plots.has(figure)) continue;
      plots.set(figure, figure.dataset.drawing ? new Drawing(figure) : new Plot(figure));
      watcher.observe(figure);
    }
  }

  // --- Live ---
  const counts = new Map();
  let known = null;
  // Whether the run is over.
  async function ask(url) {
    const answer = await fetch(url);
    if (!answer.ok) return false;
    const news = await answer.json();
    view.marks = news.marks;
    view.thresholds = news.thresholds;
    const names = new Set([...plots.values()].map((plot) => plot.key));
    const isNew = document.getElementById("charts").dataset.whole === "yes" && Object.keys(news.counts).some((key) => !names.has(key));
    for (const plot of plots.values()) if (counts.has(plot.key) && counts.get(plot.key) !== news.counts[plot.key]) plot.isStale = true;
    for (const [key, count] of Object.entries(news.counts)) counts.set(key, count);
    const state = `${news.status} ${news.marks.length}`;
    if (known !== null && known !== state) await renew("#head", "#panels", "#summary");
    known = state;
    if (isNew) await renew("#charts");
    for (const plot of plots.values()) if (plot.isSeen && plot.isStale) plot.load();
    redraw();
    return news.over;
  }

  async function renew(...parts) {
    for (const part of parts) if (document.querySelector(part)) await htmx.ajax("GET", location.href, { target: part, select: part, swap: "outerHTML" });
    tools();
    adopt();
  }

  // What a run's end leads to comes a moment later: it is asked once more.
  async function follow(url, wasOver) {
    let isOver = false;
    try {
      if (!document.hidden) isOver = await ask(url);
    } catch {
      // the server is away: the next round asks again
    }
    if (!(isOver && wasOver)) setTimeout(() => follow(url, isOver), EVERY);
  }

  tools();
  adopt();
  document.addEventListener("htmx:load", adopt);
  for (const line of lines()) if (line.dataset.live) follow(line.dataset.live, false);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
