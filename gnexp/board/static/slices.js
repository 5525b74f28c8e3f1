// Each hyperparameter against the objective, and two of them against it.

import { choose, chosenValue } from "./choice.js";
import { select, tick } from "./dom.js";
import { makePanel } from "./panel.js";
import { draw, onPlot } from "./plot.js";
import { fit } from "./progress.js";
import { beside, cell, makeAxis } from "./sweep_data.js";
import { COLORS, FAILED, scale } from "./theme.js";
import { errorBars, plain, short, withSpread } from "./words.js";

const ACROSS = 3;
const CELLS = 36;

export function slicesPanel(sweep, openTrial) {
  const columns = () => sweep.columns.filter((column) => column.role !== "tuner");
  const rowsOf = () => Math.ceil(columns().length / Math.min(ACROSS, columns().length || 1));

  async function update(place) {
    const across = Math.min(ACROSS, columns().length || 1);
    place.style.height = `${Math.max(1, rowsOf()) * 300}px`;
    const rows = sweep.all;
    const scores = rows.filter((row) => row.mean !== undefined).map((row) => row.mean);
    const floor = scores.length ? Math.min(...scores) - 0.06 * (Math.max(...scores) - Math.min(...scores) || 1) : 0;
    const anyFailed = rows.some((row) => row.status === "failed");
    const range = fit(scores, floor, anyFailed) ?? [0, 1];
    const best = sweep.leader;
    const visible = new Set(sweep.visible().map((row) => row.id));
    const layout = { grid: { rows: rowsOf(), columns: across, pattern: "independent", xgap: 0.12, ygap: 0.28 }, showlegend: false };
    const traces = columns().flatMap((column, number) => {
      const axis = makeAxis(column, rows);
      const suffix = number ? String(number + 1) : "";
      const having = rows.filter((row) => cell(row, column.path) !== undefined);
      const x = (row) => beside(axis, row);
      const log = axis.log && !chosenValue("plainSlices", false);
      layout[`xaxis${suffix}`] = { title: { text: plain(column.path) + (column.role === "scientific" ? "" : ` (${column.role})`), font: { size: 12 } }, type: log ? "log" : "linear", ...nameTicks(axis) };
      layout[`yaxis${suffix}`] = { range, title: number % across ? undefined : { text: plain(sweep.about.objective) } };
      const common = { xaxis: `x${suffix}`, yaxis: `y${suffix}`, mode: "markers", hoverinfo: "text" };
      const done = having.filter((row) => row.mean !== undefined);
      const failed = having.filter((row) => row.status === "failed");
      const text = (row) => plain(`trial ${row.id}: ${short(cell(row, column.path))}, ${row.message ?? withSpread(row.mean, row.interval, sweep.bounds.objective)}`);
      const points = (some, y) => ({ x: some.map(x), y, customdata: some.map((row) => row.id), text: some.map(text) });
      const bars = { ...errorBars(done.map((row) => row.mean), done.map((row) => row.interval), sweep.bounds.objective), thickness: 0.8, width: 2, color: COLORS[0] };
      const type = done.length > 500 ? "scattergl" : "scatter";
      const opacity = done.map((row) => (visible.has(row.id) ? 0.65 : 0.1));
      return [
        { ...common, type, ...points(done, done.map((row) => row.mean)), error_y: done.length <= 300 ? bars : undefined, marker: { size: 6, color: COLORS[0], opacity } },
        { ...common, type: "scatter", ...points(failed, failed.map(() => floor)), marker: { symbol: "x", size: 7, color: FAILED } },
        best && having.includes(best) ? { ...common, type: "scatter", ...points([best], [best.mean]), marker: { symbol: "circle-open", size: 13, line: { width: 2 }, color: COLORS[1] } } : null,
      ].filter(Boolean);
    });
    await draw(place, traces, layout, String(chosenValue("plainSlices", false)));
    onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
  }

  return makePanel({
    id: "slices",
    title: "Slices",
    note: "A point is a trial, with the 95% interval over its seeds where there are at most 300; the best has a ring, failed ones are crosses at the foot.",
    controls: () => [tick("linear axes", chosenValue("plainSlices", false), (on) => choose({ plainSlices: on || null }))],
    update,
    table: () => [
      ["hyperparameter", "value", "trials", "failed", "best"],
      columns().flatMap((column) => {
        const groups = new Map();
        for (const row of sweep.all) if (cell(row, column.path) !== undefined) groups.set(cell(row, column.path), [...(groups.get(cell(row, column.path)) ?? []), row]);
        return [...groups].map(([value, rows]) => [column.path, short(value), rows.length, rows.filter((row) => row.status === "failed").length, withSpread(sweep.best(rows)?.mean)]);
      }),
    ],
  });
}

export function contourPanel(sweep, openTrial) {
  const columns = () => sweep.columns.filter((column) => column.role !== "tuner");
  const options = () => columns().map((column) => [column.path, column.path]);
  const named = (key, otherwise) => columns().find((column) => column.path === chosenValue(key)) ?? columns()[otherwise] ?? columns()[0];

  async function update(place) {
    const [one, other] = [named("contourX", 0), named("contourY", 1)];
    if (!one) return;
    const ranked = chosenValue("contourRanks", false);
    const rows = sweep.ranked(sweep.all.filter((row) => cell(row, one.path) !== undefined && cell(row, other.path) !== undefined));
    const [across, up] = [makeAxis(one, sweep.all), makeAxis(other, sweep.all)];
    const points = rows.map((row, rank) => ({ x: across.place(row), y: up.place(row), z: ranked ? rank + 1 : row.mean, row }));
    const grid = smoothed(points, across, up);
    const reverse = (sweep.about.direction === "min") !== ranked;
    const traces = [
      { type: across.names || up.names ? "heatmap" : "contour", ...grid, colorscale: scale(), reversescale: reverse, ...(across.names || up.names ? {} : { contours: { showlines: false }, ncontours: 20 }), hoverinfo: "skip", colorbar: { title: { text: ranked ? "rank" : plain(sweep.about.objective) } }, opacity: 0.85 },
      { type: "scatter", mode: "markers", x: points.map(({ x }) => x), y: points.map(({ y }) => y), customdata: rows.map((row) => row.id), text: points.map(({ row, z }) => plain(`trial ${row.id}: ${short(z)}`)), hoverinfo: "text", marker: { size: 5, color: points.map(({ z }) => z), colorscale: scale(), reversescale: reverse, line: { width: 0.7, color: "white" } } },
    ];
    await draw(place, traces, { xaxis: axisLayout(across), yaxis: axisLayout(up), showlegend: false }, `${one.path} ${other.path} ${ranked}`);
    onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
  }

  return makePanel({
    id: "contour",
    title: "Contour",
    note: "The colour is a mean over the trials, the nearer ones counting more; where no trial is near, there is none.",
    height: 460,
    controls: () => [
      select("Across", options(), named("contourX", 0)?.path, (value) => choose({ contourX: value })),
      select("Up", options(), named("contourY", 1)?.path, (value) => choose({ contourY: value })),
      tick("ranks instead of scores", chosenValue("contourRanks", false), (on) => choose({ contourRanks: on || null })),
    ],
    update,
    table: () => {
      const [one, other] = [named("contourX", 0), named("contourY", 1)];
      const shown = (row) => [row.id, short(cell(row, one.path)), short(cell(row, other.path)), withSpread(row.mean, row.interval, sweep.bounds.objective)];
      return [["trial", one?.path, other?.path, sweep.about.objective], one ? sweep.ranked().map(shown) : []];
    },
  });
}

// The ticks of an axis on which names stand side by side; nothing for one of numbers.
export function nameTicks(axis) {
  return axis.names && { tickvals: axis.names.map((_, index) => index), ticktext: axis.names.map((name) => plain(short(name))), range: [-0.5, axis.names.length - 0.5] };
}

export function axisLayout(axis) {
  const title = { text: plain(axis.path) };
  if (axis.names) return { title, ...nameTicks(axis) };
  if (!axis.log) return { title };
  return { title, ...powers(axis.range) };
}

// The ticks of an axis that shows exponents.
export function powers([low, high]) {
  const values = [];
  for (let power = Math.ceil(low); power <= Math.floor(high); power++) values.push(power);
  return values.length > 1 ? { tickvals: values, ticktext: values.map((power) => short(10 ** power)) } : {};
}

// Names are told apart; along numbers the nearer trials count more.
function smoothed(points, across, up) {
  const places = (axis) => {
    const [low, high] = axis.range;
    return axis.names ? axis.names.map((_, index) => index) : Array.from({ length: CELLS }, (_, index) => low + (index / (CELLS - 1)) * (high - low));
  };
  const spread = Math.max(0.04, 0.35 / Math.sqrt(points.length || 1));
  const width = (axis) => (axis.names ? 0.1 : spread * (axis.range[1] - axis.range[0]));
  const [wide, tall] = [width(across), width(up)];
  const z = places(up).map((v) =>
    places(across).map((u) => {
      let [sum, weights] = [0, 0];
      for (const point of points) {
        const weight = Math.exp(-(((u - point.x) / wide) ** 2 + ((v - point.y) / tall) ** 2) / 2);
        sum += weight * point.z;
        weights += weight;
      }
      return weights > 0.1 ? sum / weights : null;
    }),
  );
  return { x: places(across), y: places(up), z };
}
