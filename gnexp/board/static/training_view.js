// One training that belongs to no sweep, or several side by side.

import { choose, chosenValue } from "./choice.js";
import { button, el, fill, select, simpleTable, tick } from "./dom.js";
import { curveTable, drawCurves } from "./over_time.js";
import { makePanel } from "./panel.js";
import { ask } from "./source.js";
import { provenance } from "./trial_view.js";
import { duration, short } from "./words.js";

function tested(ended) {
  const figures = Object.entries(ended).filter(([name]) => name.startsWith("test_"));
  return figures.map(([name, value]) => `${name.slice(5)} ${short(value)}`).join(", ");
}

export function trainingView(names, back) {
  let found = [];
  let before = "";
  const text = el("div");
  const rest = el("div");
  const figure = () => chosenValue("curveFigure", found[0]?.config?.objective ?? "val_loss");
  const curves = () => found.filter((each) => each.curves).map((each) => ({ trial: each.name, seed: each.config.seed, group: each.name, epochs: each.curves }));
  const figures = () => [...new Set(curves().flatMap((each) => Object.keys(each.epochs)))].filter((name) => !["epoch", "seconds"].includes(name));
  const panel = makePanel({
    id: "curves",
    title: "Curves",
    note: "Training is dashed.",
    height: 440,
    controls: () => [
      select("Figure", figures().map((name) => [name, name]), figure(), (value) => choose({ curveFigure: value })),
      tick("logarithmic", chosenValue("curveLog", false), (on) => choose({ curveLog: on || null })),
    ],
    update: (place) => drawCurves(place, curves(), figure(), chosenValue("curveLog", false)),
    table: () => curveTable(curves(), figure()),
  });
  panel.element.classList.add("wide");
  const title = names.length === 1 ? names[0] : `${names.length} trainings`;
  const element = el("main", {}, el("nav", {}, button("All sweeps", back)), el("h1", {}, title === "." ? "Training" : title), text, el("div", { class: "panels" }, panel.element), rest);

  async function refresh() {
    found = await Promise.all(names.map(async (name) => ({ name, ...(await ask("training", name)) })));
    const now = JSON.stringify(found);
    if (now === before) return true;
    before = now;
    const good = found.filter((each) => each.config);
    const row = ({ name, config, status, ended, epochs, curves }) => [name, status, `${epochs ?? curves?.epoch?.length ?? 0} of ${config.epochs}`, short(ended.best_value), ended.best_epoch ?? "", tested(ended), duration(ended.seconds)];
    const heads = ["training", "status", "epochs", "best", "at epoch", "on the test set", "took"];
    fill(text, found.filter((each) => each.problem).map((each) => el("p", { class: "failure" }, `${each.name}: ${each.problem}`)), good.length ? simpleTable(heads, good.map(row), "Figures") : null);
    const paths = [...new Set(good.flatMap((each) => Object.keys(each.config)))];
    const differing = good.length > 1 ? paths.filter((path) => new Set(good.map((each) => short(each.config[path]))).size > 1) : paths;
    fill(
      rest,
      good.filter((each) => each.message).map((each) => el("details", { open: true }, el("summary", {}, `${each.name}: ${each.message}`), el("pre", {}, each.traceback || "There is no traceback."))),
      simpleTable(["key", ...good.map((each) => each.name)], differing.map((path) => [path, ...good.map((each) => short(each.config[path]))]), good.length > 1 ? "What differs in their configs" : "Config"),
      provenance(good.flatMap((each) => each.processes ?? [])),
    );
    await panel.refresh();
    return true;
  }
  return { element, refresh, redraw: () => panel.refresh(), changed: () => panel.refresh(), close: () => panel.close() };
}
