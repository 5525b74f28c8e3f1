// All sweeps and trainings under the logdir.

import { choose, chosenValue } from "./choice.js";
import { button, el, fill, tick } from "./dom.js";
import { ask } from "./source.js";
import { duration, moment, withSpread } from "./words.js";

const ORDER = { sweep: 0, training: 1 };

export function listView(open) {
  const body = el("tbody");
  const said = el("p", { class: "note", role: "status" });
  const search = el("input", { type: "search", placeholder: "Search", "aria-label": "Search", value: chosenValue("search", ""), oninput: (event) => choose({ search: event.target.value || null }) });
  const compare = button("Compare", () => open(chosenValue("ticked", [])), { disabled: true });
  const heads = ["", "name", "what", "network", "data", "tuner", "done", "running", "failed", "best", "time left", "last sign of life"];
  const head = el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name || el("span", { class: "unseen" }, "Compare")))));
  const element = el("main", { class: "list" }, el("h1", {}, "Sweeps and trainings"), el("div", { class: "controls" }, search, compare), said, el("div", { class: "scrolled" }, el("table", { "aria-label": "Sweeps and trainings" }, head, body)));
  let entries = [];

  // Returns whether everything was read, so that there is no hurry to ask again.
  async function refresh() {
    const found = await ask("list");
    if (found.problem) {
      said.textContent = found.problem;
      return true;
    }
    entries = found.entries;
    const nothing = `There is no sweep and no training of gnexp under ${found.root}.`;
    said.textContent = entries.length ? (found.complete ? "" : "Reading ...") : nothing;
    show();
    return found.complete;
  }

  function show() {
    const wanted = chosenValue("search", "").toLowerCase();
    const ticked = chosenValue("ticked", []).filter((name) => entries.some((entry) => entry.name === name));
    const kinds = new Set(entries.filter((entry) => ticked.includes(entry.name)).map((entry) => entry.kind));
    compare.disabled = ticked.length < 2 || kinds.size > 1;
    compare.title = kinds.size > 1 ? "Sweeps can be compared with sweeps, trainings with trainings." : "Tick two or more.";
    const shown = entries.filter((entry) => [entry.title, ...texts(entry)].join(" ").toLowerCase().includes(wanted));
    shown.sort((a, b) => ORDER[a.kind] - ORDER[b.kind]);
    fill(body, shown.map((entry) => line(entry, ticked)));
  }

  // What is shown of an entry beside its name.
  function texts(entry) {
    const [, mean, interval] = entry.best ?? [];
    const best = entry.best ? `${entry.objective} ${withSpread(mean, interval, entry.bounds)}` : "";
    const state = entry.problem ?? (entry.pending ? "..." : entry.stopped ? entry.stopped : entry.finished ? "finished" : "");
    const counts = entry.counts ?? {};
    const done = entry.counts ? `${counts.completed} of ${entry.expected}` : entry.epochs ? `${entry.epochs[0]} of ${entry.epochs[1]} epochs` : "";
    return [entry.kind, entry.network, entry.data, entry.tuner, done, counts.running || "", counts.failed || "", best, state || duration(entry.left), moment(entry.last)].map((text) => String(text ?? ""));
  }

  function line(entry, ticked) {
    const mark = (on) => choose({ ticked: on ? [...ticked, entry.name] : ticked.filter((name) => name !== entry.name) });
    const box = tick("", ticked.includes(entry.name), mark);
    box.firstElementChild.setAttribute("aria-label", `Compare ${entry.title}`);
    return el("tr", { "data-key": entry.name, class: entry.problem || entry.stopped ? "failed" : "" }, el("td", {}, box), el("td", { title: entry.title }, button(entry.title, () => open([entry.name], entry.kind), { class: "link" })), texts(entry).map((text) => el("td", { title: text }, text)));
  }

  return { element, refresh, changed: show, close: () => {}, kindOf: (name) => entries.find((entry) => entry.name === name)?.kind };
}
