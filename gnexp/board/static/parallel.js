// Parallel coordinates of all trials, failed and conditional ones included; what is brushed filters the table.

import { choose, chosenValue } from "./choice.js";
import { button, tick } from "./dom.js";
import { makePanel } from "./panel.js";
import { draw, onPlot } from "./plot.js";
import { powers } from "./slices.js";
import { SCALE } from "./theme.js";
import { plain, short, withSpread } from "./words.js";

const MOST_NAMES = 25;

export function parallelPanel(sweep) {
  function shownAxes() {
    const order = chosenValue("axesOrder", []);
    const at = ({ path }) => (order.includes(path) ? order.indexOf(path) : order.length);
    const shown = sweep.axes().filter((axis) => !chosenValue("axesOff", []).includes(axis.path));
    return order.length ? shown.sort((a, b) => at(a) - at(b)) : shown;
  }

  async function update(place) {
    const axes = shownAxes();
    const rows = sweep.all.filter((row) => row.status !== "running");
    const brushes = chosenValue("brushes", {});
    const low = axes.find(({ path }) => path === "mean")?.range[0] ?? 0;
    const color = rows.map((row) => row.mean ?? low);
    const traces = [
      {
        type: "parcoords",
        line: { color, colorscale: SCALE, reversescale: sweep.about.direction === "min", showscale: false },
        labelangle: axes.length > 6 ? -15 : 0,
        dimensions: axes.map((axis) => ({
          label: plain(sweep.label(axis.path)),
          values: rows.map(axis.place),
          range: axis.range,
          constraintrange: brushes[axis.path],
          ...ticks(axis),
        })),
      },
    ];
    const margin = { l: 80, r: 80, t: axes.length > 6 ? 90 : 60, b: 30 };
    await draw(place, traces, { margin }, axes.map((axis) => axis.path).join(" "));
    onPlot(place, "plotly_restyle", () => {
      // Plotly puts its dimensions in the order in which they are shown, which a drag changes.
      const paths = new Map(sweep.axes().map(({ path }) => [plain(sweep.label(path)), path]));
      const { dimensions } = place.data[0];
      const order = dimensions.map(({ label }) => paths.get(label));
      const found = {};
      for (const { label, constraintrange: ranges } of dimensions) {
        if (ranges?.length) found[paths.get(label)] = Array.isArray(ranges[0]) ? ranges : [ranges];
      }
      const moved = order.join(" ") !== shownAxes().map(({ path }) => path).join(" ");
      choose({ brushes: Object.keys(found).length ? found : null, ...(moved ? { axesOrder: order } : {}) });
    });
  }

  return makePanel({
    id: "parallel",
    title: "Parallel coordinates",
    note: "Drag along an axis to brush: the table and the other pictures follow. Click an axis to take its brush away, drag its name to move it. What a trial does not have lies at the foot.",
    height: 440,
    controls: () => [
      button("Clear brushes", () => choose({ brushes: null })),
      sweep.axes().map((axis) => {
        const off = chosenValue("axesOff", []);
        return tick(sweep.label(axis.path), !off.includes(axis.path), (on) => {
          const wanted = on ? off.filter((path) => path !== axis.path) : [...off, axis.path];
          const { [axis.path]: _, ...brushes } = chosenValue("brushes", {});
          choose({ axesOff: wanted.length ? wanted : null, brushes: Object.keys(brushes).length ? brushes : null });
        });
      }),
    ],
    update,
    table: () => [
      ["trial", ...sweep.columns.map((column) => column.path), sweep.about.objective],
      sweep.visible().map((row) => [row.id, ...sweep.columns.map(({ path }) => short(row.values[path])), withSpread(row.mean, row.interval, sweep.bounds.objective) || row.status]),
    ],
  });
}

function ticks(axis) {
  const foot = axis.missing ? [[axis.absent, axis.path === "mean" ? "failed" : "none"]] : [];
  let places;
  if (axis.names) {
    const step = Math.ceil(axis.names.length / MOST_NAMES);
    places = axis.names.map((name, index) => [index, short(name)]).filter((_, index) => index % step === 0);
  } else if (axis.log && powers(axis.range).tickvals) {
    const { tickvals, ticktext } = powers([axis.missing ? axis.absent + 1e-9 : axis.range[0], axis.range[1]]);
    places = tickvals.map((value, index) => [value, ticktext[index]]).filter(([value]) => !axis.missing || value > axis.absent + 0.05);
  } else {
    const low = axis.missing ? axis.absent + 0.12 * ((axis.range[1] - axis.absent) / 1.12) : axis.range[0];
    places = [0, 0.25, 0.5, 0.75, 1].map((part) => low + part * (axis.range[1] - low)).map((value) => [value, short(axis.unscale(value))]);
  }
  const all = [...foot, ...places];
  return { tickvals: all.map(([value]) => value), ticktext: all.map(([, text]) => plain(text)) };
}

