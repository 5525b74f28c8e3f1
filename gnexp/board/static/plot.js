// Plotly, loaded once, with this page's colours.

import { el } from "./dom.js";
import { isReport } from "./source.js";
import { COLORS, themed } from "./theme.js";

export const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["sendChartToCloud"],
  toImageButtonOptions: { format: "png", scale: 2 },
};
let loading = null;

// Resolves to Plotly, or to null where it is not installed.
export function loadPlotly() {
  loading ??= new Promise((resolve) => {
    if (globalThis.Plotly || isReport) return resolve(globalThis.Plotly ?? null);
    const done = () => resolve(globalThis.Plotly ?? null);
    document.head.append(el("script", { src: "static/plotly.js", onload: done, onerror: done }));
  });
  return loading;
}

// Draws, keeping zoom and selection where `revision` has not changed.
export async function draw(place, traces, layout, revision = "") {
  const plotly = await loadPlotly();
  if (!plotly || !place.isConnected) return false;
  const { text, faint, line } = themed();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, exponentformat: "power" };
  const styled = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "inherit", size: parseFloat(getComputedStyle(document.body).fontSize) - 2 },
    colorway: COLORS,
    margin: { l: 60, r: 20, t: 30, b: 50 },
    hovermode: "closest",
    legend: { orientation: "h", y: -0.2 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: faint, activecolor: text },
    uirevision: revision,
    ...layout,
  };
  for (const name of Object.keys(styled)) if (/^[xy]axis\d*$/.test(name)) styled[name] = { ...axis, ...styled[name] };
  styled.xaxis ??= axis;
  styled.yaxis ??= axis;
  await plotly.react(place, traces, styled, {
    ...CONFIG,
    modeBarButtonsToAdd: [
      {
        name: "Download plot as an SVG",
        icon: plotly.Icons.disk,
        click: (figure) => plotly.downloadImage(figure, { format: "svg", filename: place.dataset.name ?? "figure" }),
      },
    ],
  });
  return true;
}

export function onPlot(place, event, listener) {
  if (place.on && !place.dataset[`on${event}`]) {
    place.dataset[`on${event}`] = "1";
    place.on(event, listener);
  }
}
