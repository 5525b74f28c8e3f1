// One trial: its values, its seeds, why it failed, and how it is trained again.

import { button, download, el, fill, simpleTable } from "./dom.js";
import { ask, isReport } from "./source.js";
import { duration, moment, short, withSpread } from "./words.js";

export function trialView(sweep, close) {
  const inside = el("div");
  let shown = null;
  const element = el("dialog", { class: "trial", "aria-label": "One trial" }, inside);
  element.addEventListener("close", close);
  element.addEventListener("click", (event) => event.target === element && element.close());

  async function open(id) {
    const found = await ask("trial", sweep.name, id);
    show(id, found);
    if (!element.open) element.showModal();
  }

  function show(id, found) {
    shown = id;
    const parts = found.problem ? [heading(`Trial ${id}`), el("p", {}, found.problem)] : content(found);
    fill(inside, el("div", { "data-key": id }, parts)); // What was unfolded of another trial is folded again.
  }

  // Follows a trial that goes on.
  async function refresh() {
    if (!element.open) return;
    const id = shown;
    const found = await ask("trial", sweep.name, id);
    if (element.open && shown === id) show(id, found);
  }

  const heading = (text) => el("header", {}, el("h2", {}, text), button("Close", () => element.close(), { "aria-label": "Close the trial" }));

  function content(found) {
    const row = sweep.rows.get(found.id) ?? {};
    const values = found.beside.map(([path, own, its]) => [path, short(its), short(own)]);
    const seeds = found.seeds.map((seed) => [seed.seed, seed.status, short(seed.best_value), seed.best_epoch ?? (seed.epochs ? `at ${seed.epochs}` : ""), short(seed.test), short(seed.test_loss), duration(seed.seconds), seed.processes?.at(-1)?.host ?? "", seed.folder]);
    const failures = found.seeds.filter((seed) => seed.traceback || (seed.message && seed.status !== "success"));
    const name = `trial-${found.id}.py`;
    return [
      heading(`Trial ${found.id}: ${found.status}`),
      found.status === "completed" ? el("p", {}, `${sweep.about.objective} ${withSpread(row.mean, row.interval, sweep.bounds.objective)}; test ${sweep.about.headline} ${withSpread(row.test, row.test_interval, sweep.bounds.headline)}.`) : null,
      found.message ? el("p", { class: "failure" }, found.message) : null,
      simpleTable(["hyperparameter", "this trial", "the sweep's config"], values, "Its values"),
      simpleTable(["seed", "status", sweep.about.objective, "best epoch", `test ${sweep.about.headline}`, "test loss", "took", "on", "folder"], seeds, "Its seeds"),
      failures.map((seed) => el("details", { open: true }, el("summary", {}, `Seed ${seed.seed}: ${seed.message || "failed"}`), el("pre", {}, seed.traceback || "There is no traceback."))),
      el("h3", {}, "Train it again"),
      el("pre", {}, `python -m gnexp.train --config=${name}`),
      button(`Download ${name}`, () => download(name, "text/x-python", found.file)),
      isReport || sweep.about.kept ? null : el("p", {}, links(found.id)),
      el("details", {}, el("summary", {}, "Its whole config"), simpleTable(["key", "value"], Object.entries(found.config).map(([path, value]) => [path, short(value)]), "Config")),
      provenance(found.seeds.flatMap((seed) => seed.processes ?? [])),
    ];
  }

  function links(id) {
    const folder = sweep.name === "." ? `trials/${id}/` : `${sweep.name}/trials/${id}/`;
    const filter = encodeURIComponent(folder.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const link = (address, text) => el("a", { href: address, target: "_parent" }, text);
    return ["See it in ", link("../../../#hparams", "HParams"), " or ", link(`../../../?runFilter=${filter}#timeseries`, "Time Series"), "."];
  }
  return { element, open, refresh, isOpen: () => element.open };
}

export function provenance(processes) {
  if (!processes.length) return null;
  const rows = processes.map((each) => [moment(Date.parse(each.started) / 1000), each.host, each.git?.commit ? each.git.commit.slice(0, 10) + (each.git.changed ? ", changed" : "") : "", versions(each.versions), (each.command ?? []).join(" ")]);
  return el("details", {}, el("summary", {}, "Where it comes from"), simpleTable(["started", "host", "commit", "versions", "command"], rows, "Provenance"));
}

function versions(found = {}) {
  return Object.entries(found).map(([name, version]) => `${name} ${version}`).join(", ");
}
