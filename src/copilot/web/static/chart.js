// A dialog that charts a signal over a longer time, drawn by uPlot from /signals/{id}.
"use strict";
(() => {
  const dialog = document.getElementById("chart");
  const plot = document.getElementById("plot");
  const note = document.getElementById("chart-note");
  const ranges = [...dialog.querySelectorAll("[data-hours]")];
  const cluster = document.body.dataset.cluster;
  const UNITS = { count: "", bool: " (1: yes)", ratio: " (1 is all)", percent: ", in %", "1/s": ", a second", "1/min": ", a minute" };
  let shown = null;
  let hours = 1;
  let chart = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const iso = (seconds) => new Date(seconds * 1e3).toISOString();

  async function draw() {
    const end = Date.parse(document.querySelector("#live .all").dataset.at ?? "") || Date.now();
    const query = new URLSearchParams({ cluster, start: end - hours * 3600e3, end, max_points: 600 });
    const response = await fetch(`/signals/${encodeURIComponent(shown.id)}?${query}`);
    if (!response.ok) { note.textContent = "The Copilot did not answer."; return; }
    const series = await response.json();
    document.getElementById("chart-meaning").textContent = `${series.id}: ${series.meaning}${UNITS[series.unit] ?? `, in ${series.unit}`}`;
    note.textContent = series.degraded_because || (series.points.length ? "" : "There is no data for this range.");
    chart?.destroy();
    const ink = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const when = (at) => (hours > 24 ? iso(at).slice(5, 10) : iso(at).slice(11, 16));
    chart = new uPlot({
      width: plot.clientWidth, height: 300,
      cursor: { drag: { x: true, y: false } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "UTC"),
      axes: [{ ...ink, space: 80, values: (_, marks) => marks.map(when) }, { ...ink, size: 70 }],
      series: [{ label: "UTC", value: (_, at) => (at == null ? "" : iso(at).slice(0, 19).replace("T", " ")) }, { label: shown.label, stroke: colour("--accent"), width: 2, spanGaps: false, points: { show: series.points.length < 60 } }],
    }, [series.points.map((p) => Date.parse(p.time) / 1000), series.points.map((p) => p.value)], plot);
    chart.setScale("x", { min: end / 1000 - hours * 3600, max: end / 1000 });
  }

  document.addEventListener("click", (event) => {
    const card = event.target.closest?.("[data-signal]");
    if (!card || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    shown = { id: card.dataset.signal, label: card.dataset.label };
    document.getElementById("chart-title").textContent = shown.label;
    dialog.showModal();
    draw();
  });
  for (const button of ranges) {
    button.addEventListener("click", () => {
      hours = Number(button.dataset.hours);
      ranges.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      draw();
    });
  }
})();
