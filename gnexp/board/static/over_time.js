// Importance, the timeline of the trials, and the curves of some.

import { choose, chosenValue } from "./choice.js";
import { button, important, select, tick } from "./dom.js";
import { makePanel } from "./panel.js";
import { draw, onPlot } from "./plot.js";
import { ask, isReport } from "./source.js";
import { COLORS, FAILED, RUNNING } from "./theme.js";
import { count, duration, moment, plain, short, withSpread } from "./words.js";

const NOT_FIGURES = ["epoch", "seconds", "learning_rate"];
const FEW = 3;
const MOST_LANES = 24;

export function importancePanel(sweep) {
  let found = { paths: [], means: [], spreads: [] };
  let counted = -1;
  async function update(place, note) {
    const completed = sweep.about.counts.completed;
    // A forest takes a second to grow: it is grown again when there are 5% more trials.
    if (counted < 0 || completed < counted || completed > 1.05 * counted || sweep.about.finished) {
      found = await ask("importance", sweep.name);
      counted = completed;
    }
    note.replaceChildren(...important(found.problem ?? (found.left_out ? `Left out: ${found.left_out}.` : found.text)));
    place.hidden = !found.paths?.length;
    if (place.hidden) return;
    place.style.height = `${90 + 32 * found.paths.length}px`;
    const order = found.paths.map((_, index) => index).reverse();
    const pick = (values) => order.map((index) => values[index]);
    const bars = { type: "bar", orientation: "h", y: pick(found.paths).map(plain), x: pick(found.means), error_x: { type: "data", array: pick(found.spreads) }, marker: { color: COLORS[0] }, hoverinfo: "x+y" };
    await draw(place, [bars], { xaxis: { title: { text: "by how much R² falls when the column is shuffled" } }, yaxis: { type: "category" } });
  }
  return makePanel({
    id: "importance",
    title: "Importance",
    height: 260,
    update,
    table: () => [["hyperparameter", "importance"], (found.paths ?? []).map((path, index) => [path, withSpread(found.means[index], found.spreads[index])])],
  });
}

export function timelinePanel(sweep, openTrial) {
  const about = "A bar is one training, from its first start to its end. A line is a place at which a machine trained one after the other.";
  let found = { bars: [], lanes: [] };
  async function update(place, note) {
    found = await ask("timeline", sweep.name);
    const unread = found.unread ? ` Of ${count(found.unread, "training")} the start cannot be read.` : "";
    note.textContent = about + unread;
    if (found.problem || !found.bars.length) {
      note.textContent = found.problem ?? `Nothing says when these trials ran.${unread}`;
      place.hidden = true;
      return;
    }
    place.hidden = false;
    place.style.height = `${Math.min(900, 150 + 34 * found.lanes.length)}px`;
    const colors = { completed: COLORS[0], failed: FAILED, running: RUNNING };
    const traces = ["completed", "failed", "running"].map((status) => {
      const bars = found.bars.filter((bar) => bar.status === status);
      const end = (bar) => bar.end ?? sweep.about.now;
      const text = (bar) => plain(`trial ${bar.trial}, seed ${bar.seed}: ${status}, ${duration(end(bar) - bar.start)}`);
      return {
        type: "scatter",
        mode: "lines+markers",
        name: status,
        line: { color: colors[status], width: 12 },
        marker: { color: colors[status], size: 8, symbol: "line-ns" },
        opacity: 0.75,
        hoverinfo: "text",
        x: bars.flatMap((bar) => [new Date(1000 * bar.start), new Date(1000 * end(bar)), null]),
        y: bars.flatMap((bar) => [bar.lane, bar.lane, null]),
        text: bars.flatMap((bar) => [text(bar), text(bar), ""]),
        customdata: bars.flatMap((bar) => [bar.trial, bar.trial, null]),
      };
    });
    const step = Math.ceil(found.lanes.length / MOST_LANES);
    const lanes = found.lanes.map((_, index) => index).filter((index) => index % step === 0);
    const yaxis = { tickvals: lanes, ticktext: lanes.map((index) => plain(found.lanes[index])), autorange: "reversed" };
    // Beneath the axis is the date.
    const above = { legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" }, margin: { l: 60, r: 20, t: 60, b: 40 } };
    await draw(place, traces, { xaxis: { type: "date" }, yaxis, ...above });
    onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
  }
  return makePanel({
    id: "timeline",
    title: "Timeline",
    note: about,
    height: 220,
    update,
    table: () => [
      ["trial", "seed", "where", "start", "end", "took", "status"],
      (found.bars ?? []).map((bar) => [bar.trial, bar.seed, found.lanes[bar.lane], moment(bar.start), moment(bar.end), duration(bar.end && bar.end - bar.start), bar.status]),
    ],
  });
}

export function curvesPanel(sweep) {
  let found = [];
  const picked = () => chosenValue("picked") ?? (sweep.about.leading ?? []).slice(0, FEW);
  const names = () => [...new Set(found.flatMap((curve) => Object.keys(curve.epochs)))].filter((name) => !NOT_FIGURES.includes(name));
  async function update(place, note) {
    const answer = await ask("curves", sweep.name, picked().join(","));
    found = answer.curves ?? [];
    const isKept = sweep.about.kept ? " A kept sweep has the objective only." : "";
    const without = isReport ? " The report does not hold the curves of" : " There is no";
    const absent = answer.absent?.length ? `${without} trial ${answer.absent.join(", ")}.` : "";
    note.textContent = answer.problem ?? `Trials ${picked().join(", ") || "none"}: tick others in the table. Each seed is thin, their mean thick; training is dashed.${isKept}${absent}`;
    await drawCurves(place, found.map((curve) => ({ ...curve, group: `trial ${curve.trial}` })), chosenValue("curveFigure", sweep.about.objective), chosenValue("curveLog", false));
  }
  return makePanel({
    id: "curves",
    title: "Curves",
    height: 420,
    controls: () => [
      select("Figure", pairs(names().length ? names() : [sweep.about.objective]), chosenValue("curveFigure", sweep.about.objective), (value) => choose({ curveFigure: value })),
      tick("logarithmic", chosenValue("curveLog", false), (on) => choose({ curveLog: on || null })),
      button("The best", () => choose({ picked: null })),
    ],
    update,
    table: () => curveTable(found, chosenValue("curveFigure", sweep.about.objective)),
  });
}

// A figure and that of the other set belong together: val_loss and loss.
function pairs(names) {
  return names.filter((name) => name.startsWith("val_") || !names.includes(`val_${name}`)).map((name) => [name, name.replace(/^val_/, "")]);
}

export function curveTable(found, figure) {
  return [["trial", "seed", "epochs", `last ${figure}`], found.map((curve) => [curve.trial, curve.seed, curve.epochs[figure]?.length ?? 0, short(curve.epochs[figure]?.at(-1))])];
}

// Draws curves by group: each of its seeds thin, their mean thick; the figure of the training set dashed.
export function drawCurves(place, curves, figure, log) {
  const groups = [...new Set(curves.map((curve) => curve.group))];
  const sets = figure.startsWith("val_") ? [figure, figure.slice(4)] : [figure];
  const traces = groups.flatMap((group, number) => {
    const color = COLORS[number % COLORS.length];
    const members = curves.filter((curve) => curve.group === group);
    return sets.flatMap((name, set) => {
      const known = members.map((curve) => curve.epochs[name]).filter((values) => values?.length);
      if (!known.length) return [];
      const dash = set ? "dot" : "solid";
      const line = (values, width, opacity, shown) => ({ type: "scatter", mode: values.length > 1 ? "lines" : "markers", x: values.map((_, epoch) => epoch + 1), y: values, line: { color, width, dash }, marker: { color }, opacity, name: plain(set ? `${group}, training` : group), legendgroup: group, showlegend: shown, hoverinfo: shown ? "x+y+name" : "skip" });
      const longest = Math.max(...known.map((values) => values.length));
      const mean = Array.from({ length: longest }, (_, epoch) => {
        const values = known.map((each) => each[epoch]).filter((value) => value !== undefined && value !== null);
        return values.reduce((sum, value) => sum + value, 0) / values.length;
      });
      return [...(known.length > 1 ? known.map((values) => line(values, 0.8, 0.5, false)) : []), line(mean, 2.5, 1, true)];
    });
  });
  return draw(place, traces, { xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: plain(figure) }, type: log ? "log" : "linear" } }, `${figure}${log}`);
}
