// What a model expects of the objective over the values of each hyperparameter, drawn over the trials.

import { draw, onPlot } from "./plot.js";
import { fit } from "./progress.js";
import { nameTicks } from "./slices.js";
import { beside, cell, makeAxis } from "./sweep_data.js";
import { COLORS } from "./theme.js";
import { plain, short, withSpread } from "./words.js";

const ACROSS = 3;
const EACH = 300; // pixels

export async function drawResponse(place, sweep, curves, openTrial) {
  const done = sweep.all.filter((row) => row.mean !== undefined);
  const across = Math.min(ACROSS, curves.length);
  const down = Math.ceil(curves.length / across);
  place.style.height = `${down * EACH + 60}px`;
  const layout = { grid: { rows: down, columns: across, pattern: "independent", xgap: 0.12, ygap: 0.28 } };
  const range = fit(done.map((row) => row.mean), 0, false);
  const traces = curves.flatMap((curve, number) => {
    const axis = makeAxis(sweep.columns.find(({ path }) => path === curve.path), done);
    const suffix = number ? String(number + 1) : "";
    layout[`xaxis${suffix}`] = { title: { text: plain(curve.path), font: { size: 12 } }, type: axis.log ? "log" : "linear", ...nameTicks(axis) };
    layout[`yaxis${suffix}`] = { range, title: number % across ? undefined : { text: plain(sweep.about.objective) } };
    const common = { type: "scatter", xaxis: `x${suffix}`, yaxis: `y${suffix}`, hoverinfo: "text", showlegend: !number };
    const having = done.filter((row) => cell(row, curve.path) !== undefined);
    const trials = {
      ...common,
      name: "a trial",
      mode: "markers",
      x: having.map((row) => beside(axis, row)),
      y: having.map((row) => row.mean),
      customdata: having.map((row) => row.id),
      text: having.map((row) => plain(`trial ${row.id}: ${short(cell(row, curve.path))}, ${withSpread(row.mean, row.interval, sweep.bounds.objective)}`)),
      marker: { size: 5, color: COLORS[0], opacity: 0.4 },
    };
    const x = axis.names ? curve.values.map((value) => axis.names.indexOf(value)) : curve.values;
    const text = curve.values.map((value, index) => plain(`${short(value)}: ${short(curve.means[index])} by the model, ${short(curve.lows[index])} to ${short(curve.highs[index])}`));
    const model = { ...common, name: "by the model, with its 95% interval", x, y: curve.means, text };
    if (axis.names) {
      const reach = { type: "data", symmetric: false, array: curve.highs.map((high, index) => high - curve.means[index]), arrayminus: curve.lows.map((low, index) => curve.means[index] - low) };
      return [trials, { ...model, mode: "markers", error_y: { ...reach, color: COLORS[1] }, marker: { size: 9, symbol: "line-ew-open", color: COLORS[1] } }];
    }
    const edge = { ...common, mode: "lines", hoverinfo: "skip", showlegend: false, x, line: { width: 0, color: COLORS[1] } };
    return [{ ...edge, y: curve.lows }, { ...edge, y: curve.highs, fill: "tonexty", fillcolor: `${COLORS[1]}40` }, trials, { ...model, mode: "lines", line: { width: 2, color: COLORS[1] } }];
  });
  await draw(place, traces, layout, "response");
  onPlot(place, "plotly_click", (event) => event.points[0]?.customdata && openTrial(event.points[0].customdata));
}
