// What the sweep asks, and the answer.

import { el, fill, important, simpleTable } from "./dom.js";
import { draw, loadPlotly, onPlot } from "./plot.js";
import { drawResponse } from "./response.js";
import { ask } from "./source.js";
import { axisLayout } from "./slices.js";
import { makeAxis } from "./sweep_data.js";
import { COLORS } from "./theme.js";
import { duration, errorBars, inWords, plain, short, withSpread } from "./words.js";

// The axis of the combinations, with a place for those that do not have what it shows.
function withNone(axis) {
  const layout = axisLayout(axis);
  if (!axis.missing) return layout;
  if (!axis.names) return { ...layout, title: { text: `${layout.title.text} (none at the left end)` } };
  const { tickvals, ticktext, range } = layout;
  return { ...layout, tickvals: [axis.absent, ...tickvals], ticktext: ["none", ...ticktext], range: [axis.absent - 0.5, range[1]] };
}

export function answerPanel(sweep, openTrial) {
  const text = el("div");
  const place = el("div", { class: "figure", style: "height:380px", role: "img", "aria-label": "Test figure of each combination", "data-name": "answer" });
  const element = el("section", { id: "panel-answer", class: "panel wide" }, el("h2", {}, "What the sweep asks"), text, place);
  const isBehind = () => version !== sweep.version;
  let version = null;
  let latest = null;
  let asked = null;

  // Working it out takes seconds for a large sweep; nothing waits for it.
  async function refresh() {
    if (!isBehind()) return latest && picture(latest);
    if (version === null && !asked) fill(text, el("p", { class: "note" }, "The answer is being worked out ..."));
    if (sweep.about.complete === false) return;
    asked ??= ask("answer", sweep.name).then((found) => {
      asked = null;
      const news = found.version !== version || found.problem;
      version = found.version;
      if (news) show(found);
    });
  }

  async function show(found) {
    latest = found.problem || found.left_out ? null : found;
    place.hidden = !latest;
    if (!latest) {
      const best = sweep.leader;
      const instead = best ? el("p", {}, `The best trial so far is ${best.id}, with ${sweep.about.objective} ${sweep.leads().score}: ${inWords(best.values)}`) : null;
      fill(text, el("p", {}, found.problem ?? `Left out: ${found.left_out}.`), instead);
      return;
    }
    if (!found.points.length) {
      place.hidden = !found.curves.length;
      place.setAttribute("aria-label", "What the model expects over each hyperparameter, over the trials");
      fill(text, el("p", {}, important(found.how)), simpleTable(found.headers, found.rows, "Each hyperparameter, by all trials"));
      await picture(found);
      return;
    }
    const cost = found.points.map((point) => duration(point.seconds));
    const rows = found.rows.map((row, index) => [...row, cost[index], point(found.points[index])]);
    fill(
      text,
      el("p", {}, important(found.how)),
      simpleTable([...found.headers, "training time", "trial"], rows, "The best of each combination"),
      el("p", {}, important(found.compared)),
      found.differences.length ? simpleTable(found.headers_of_differences.map((name) => name || "verdict"), found.differences, `Differences in test ${sweep.about.headline}`) : null,
    );
    await picture(found);
  }

  function point({ trial }) {
    return trial ? el("button", { type: "button", class: "link", onclick: () => openTrial(trial) }, trial) : "failed";
  }

  async function picture(found) {
    if (!(await loadPlotly())) {
      place.hidden = true;
      return;
    }
    if (!found.points.length) {
      if (found.curves.length) await drawResponse(place, sweep, found.curves, openTrial);
      return;
    }
    const known = found.points.filter((each) => each.tests.length);
    const column = sweep.columns.find(({ path }) => path === found.axis);
    const asRows = known.map((each) => ({ values: each.values }));
    const axis = makeAxis({ ...column, listed: true, values: [...new Set(known.map((each) => each.values[found.axis]))].filter((value) => value !== undefined) }, asRows);
    const lines = new Map();
    known.forEach((each, index) => {
      const others = Object.entries(each.values).filter(([path]) => path !== found.axis);
      const name = others.length === 1 ? short(others[0][1]) : inWords(Object.fromEntries(others)) || `test ${sweep.about.headline}`;
      lines.set(name, [...(lines.get(name) ?? []), { ...each, x: axis.place(asRows[index]) }]);
    });
    const step = 0.5 / (lines.size + 1);
    const traces = [...lines].flatMap(([name, points], number) => {
      const color = COLORS[number % COLORS.length];
      const x = points.map((each) => each.x + (number - (lines.size - 1) / 2) * step * 0.5);
      const common = { type: "scatter", legendgroup: name, customdata: points.map((each) => each.trial) };
      const label = points.map((each) => plain(`${inWords(each.values)}: ${withSpread(each.test, each.interval, sweep.bounds.headline)}, trial ${each.trial}`));
      return [
        { ...common, mode: points.length > 1 && !axis.names?.some((each) => typeof each === "string") ? "lines+markers" : "markers", name: plain(name), x, y: points.map((each) => each.test), text: label, hoverinfo: "text", error_y: { ...errorBars(points.map((each) => each.test), points.map((each) => each.interval), sweep.bounds.headline), color }, marker: { color, size: 8 }, line: { color, width: 1 } },
        { ...common, mode: "markers", showlegend: false, hoverinfo: "y", x: points.flatMap((each, index) => each.tests.map(() => x[index])), y: points.flatMap((each) => each.tests), customdata: points.flatMap((each) => each.tests.map(() => each.trial)), marker: { color, size: 4, opacity: 0.6 } },
      ];
    });
    const every = known.flatMap((each) => each.tests).sort((a, b) => a - b);
    const spread = every.at(-1) - every[0] || 0.01;
    // The interval of a mean over few seeds may reach far beyond them.
    const range = [every[0] - 0.6 * spread, every.at(-1) + 0.6 * spread];
    await draw(place, traces, { xaxis: withNone(axis), yaxis: { title: { text: `test ${sweep.about.headline}` }, range }, showlegend: lines.size > 1 }, "answer");
    onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
  }

  return { element, refresh, isBehind, close: () => globalThis.Plotly?.purge(place) };
}
