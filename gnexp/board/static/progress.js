// Each trial's score over time, with the best so far; the distribution of the scores.

import { choose, chosenValue } from "./choice.js";
import { select, tick } from "./dom.js";
import { makePanel } from "./panel.js";
import { draw, onPlot } from "./plot.js";
import { COLORS, FAILED } from "./theme.js";
import { errorBars, moment, plain, withSpread } from "./words.js";

export function progressPanel(sweep, openTrial) {
  const byTime = () => chosenValue("progressX", "number") === "time" && sweep.all.some((row) => row.ended);
  const at = (row, number) => (byTime() ? new Date(1000 * row.ended) : number);

  function curve() {
    const rows = sweep.all.filter((row) => row.status !== "running" && (!byTime() || row.ended));
    if (byTime()) rows.sort((a, b) => a.ended - b.ended);
    const best = sweep.bestSoFar(rows);
    return rows.map((row, number) => ({ row, x: at(row, byTime() ? number : Number(row.id)), best: best[number] }));
  }

  async function update(place) {
    const points = curve();
    const visible = new Set(sweep.visible().map((row) => row.id));
    const done = points.filter(({ row }) => row.mean !== undefined);
    const failed = points.filter(({ row }) => row.status === "failed");
    const scores = done.map(({ row }) => row.mean);
    const floor = scores.length ? Math.min(...scores) - 0.06 * (Math.max(...scores) - Math.min(...scores) || 1) : 0;
    const log = chosenValue("progressLog", false) && scores.every((score) => score > 0);
    const traces = [
      {
        type: done.length > 1000 ? "scattergl" : "scatter",
        mode: "markers",
        name: "a trial",
        x: done.map(({ x }) => x),
        y: scores,
        customdata: done.map(({ row }) => row.id),
        text: done.map(({ row }) => plain(`trial ${row.id}: ${withSpread(row.mean, row.interval, sweep.bounds.objective)}`)),
        hoverinfo: "text",
        marker: { size: 6, opacity: done.map(({ row }) => (visible.has(row.id) ? 0.8 : 0.12)), color: COLORS[0] },
        error_y: done.length <= 300 ? { ...errorBars(scores, done.map(({ row }) => row.interval), sweep.bounds.objective), thickness: 0.8, width: 2, color: COLORS[0] } : undefined,
      },
      { type: "scatter", mode: "lines", name: "best so far", line: { shape: "hv", color: COLORS[1] }, x: points.map(({ x }) => x), y: points.map(({ best }) => best), hoverinfo: "y" },
      {
        type: "scatter",
        mode: "markers",
        name: "failed",
        x: failed.map(({ x }) => x),
        y: failed.map(() => (log ? Math.min(...scores) : floor)),
        customdata: failed.map(({ row }) => row.id),
        text: failed.map(({ row }) => plain(`trial ${row.id} failed: ${row.message ?? ""}`)),
        hoverinfo: "text",
        marker: { symbol: "x", color: FAILED, size: 7 },
      },
    ];
    const yaxis = { title: { text: plain(sweep.about.objective) }, type: log ? "log" : "linear" };
    const fitted = fit(scores, floor, failed.length);
    if (fitted && !log) yaxis.range = fitted;
    await draw(place, traces, { xaxis: { title: { text: byTime() ? "ended" : "trial" } }, yaxis }, `${byTime()}${log}`);
    onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
  }

  return makePanel({
    id: "progress",
    title: "Progress",
    controls: () => [
      select("Over", [["number", "the trials"], ["time", "time"]], chosenValue("progressX", "number"), (value) => choose({ progressX: value })),
      tick("logarithmic", chosenValue("progressLog", false), (on) => choose({ progressLog: on || null })),
    ],
    update,
    table: () => [
      ["trial", "ended", sweep.about.objective, "best so far", "status"],
      curve().map(({ row, best }) => [row.id, moment(row.ended), withSpread(row.mean, row.interval, sweep.bounds.objective), withSpread(best), row.status]),
    ],
  });
}

// The scores decide the axis; the interval over a few seeds may reach far beyond all of them.
export function fit(scores, floor, withFailed) {
  if (!scores.length) return null;
  const low = Math.min(...scores);
  const high = Math.max(...scores);
  const margin = 0.08 * (high - low) || 0.01;
  return [withFailed ? Math.min(floor, low) - margin / 2 : low - margin, high + margin];
}

// For each sweep the share of its trials that are no better than a score.
export function distributionPanel(sweeps, id = "distribution", suffix = "") {
  const steps = (sweep) => sweep.counted.map((row) => row.mean).sort((a, b) => a - b);
  return makePanel({
    id,
    title: `Distribution of the scores${suffix}`,
    note: "The share of the completed trials whose score is at most this.",
    update: (place) =>
      draw(
        place,
        sweeps.map((sweep) => {
          const scores = steps(sweep);
          return { type: "scatter", mode: "lines", name: plain(sweep.name), line: { shape: "hv" }, x: scores, y: scores.map((_, place) => (place + 1) / scores.length) };
        }),
        { xaxis: { title: { text: plain(sweeps[0].about.objective) } }, yaxis: { range: [0, 1.02] }, showlegend: sweeps.length > 1 },
      ),
    table: () => [
      ["sweep", "lowest", "quarter", "median", "three quarters", "highest"],
      sweeps.map((sweep) => {
        const scores = steps(sweep);
        return [sweep.name, ...[0, 0.25, 0.5, 0.75, 1].map((part) => withSpread(scores[Math.round(part * (scores.length - 1))]))];
      }),
    ],
  });
}
