// Parallel coordinates of all trials, failed and conditional ones included; what is brushed filters the table.

import { choose, chosenValue } from "./choice.js";
import { button, tick } from "./dom.js";
import { makePanel } from "./panel.js";
import { draw, onPlot } from "./plot.js";
import { scale } from "./theme.js";
import { plain, short, withSpread } from "./words.js";

const MOST_NAMES = 25;
const AT_THE_END = 0.005; // of an axis, from which on a brush counts as drawn to its end

export function parallelPanel(sweep) {
  let drawn = [];

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
        line: { color, colorscale: scale(), reversescale: sweep.about.direction === "min", showscale: false },
        labelangle: axes.length > 6 ? -15 : 0,
        dimensions: axes.map((axis) => ({
          label: plain(sweep.label(axis.path)),
          values: rows.map(axis.place),
          range: axis.range,
          constraintrange: brushes[axis.path]?.map(([low, high]) => [low ?? axis.range[0], high ?? axis.range[1]]),
          ...(axis.names ? nameTicks(axis) : {}),
        })),
      },
    ];
    const margin = { l: 80, r: 80, t: axes.length > 6 ? 90 : 60, b: 30 };
    drawn = axes;
    await draw(place, traces, { margin }, axes.map((axis) => axis.path).join(" "));
    const relabel = () => drawn.forEach((axis) => axis.names || labelNumbers(place, sweep.label(axis.path), axis));
    relabel();
    onPlot(place, "plotly_afterplot", relabel);
    onPlot(place, "plotly_restyle", () => {
      // Plotly puts its dimensions in the order in which they are shown, which a drag changes.
      const paths = new Map(sweep.axes().map(({ path }) => [plain(sweep.label(path)), path]));
      const { dimensions } = place.data[0];
      const order = dimensions.map(({ label }) => paths.get(label));
      const found = {};
      for (const { label, constraintrange: ranges } of dimensions) {
        const axis = drawn.find(({ path }) => path === paths.get(label));
        if (ranges?.length) found[axis.path] = (Array.isArray(ranges[0]) ? ranges : [ranges]).map((range) => openEnded(range, axis));
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

// A brush to the end of an axis of numbers has no limit there: later trials may lie beyond.
function openEnded([low, high], axis) {
  if (axis.names) return [low, high];
  const [bottom, top] = axis.range;
  const near = AT_THE_END * (top - bottom);
  return [low <= bottom + near ? null : low, high >= top - near ? null : high];
}

function nameTicks(axis) {
  const step = Math.ceil(axis.names.length / MOST_NAMES);
  const places = axis.names.map((name, index) => [index, short(name)]).filter((_, index) => index % step === 0);
  if (axis.missing) places.unshift([axis.absent, atFoot(axis)]);
  return { tickvals: places.map(([value]) => value), ticktext: places.map(([, text]) => text) };
}

function atFoot(axis) {
  return axis.path === "mean" ? "failed" : "none";
}

// Writes what the ticks of an axis of numbers mean. Plotly's own tickvals would do it, but a brush snaps to those.
function labelNumbers(place, label, axis) {
  const element = [...place.querySelectorAll(".y-axis")].find((each) => each.querySelector(".axis-title")?.textContent === label);
  if (!element) return;
  const ticks = [...element.querySelectorAll(".axis .tick")];
  const [low, high] = [axis.missing ? axis.lowest : axis.range[0], axis.range[1]];
  const whole = axis.log && Math.floor(high) > Math.ceil(low); // Between powers of ten there is no room for names.
  for (const tick of ticks) {
    const value = tick.__data__; // D3 keeps there what an element stands for.
    const shown = value >= low && (!whole || Number.isInteger(value));
    tick.style.display = shown ? "" : "none";
    tick.querySelector("text").textContent = short(axis.unscale(value));
  }
  element.querySelector(".axis-extent-top-text").textContent = short(axis.unscale(high));
  element.querySelector(".axis-extent-bottom-text").textContent = axis.missing ? atFoot(axis) : short(axis.unscale(low));
}
