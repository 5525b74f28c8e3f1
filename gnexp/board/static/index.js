// Where the page starts. TensorBoard calls `render`; so does a report.

import { choose, chosenValue, clearListeners, forget, keepAddress, onAddress, onChoice } from "./choice.js";
import { el } from "./dom.js";
import { listView } from "./list_view.js";
import { ask, isReport } from "./source.js";
import { compareSweeps, sweepView } from "./sweep_view.js";
import { followTheme } from "./theme.js";
import { trainingView } from "./training_view.js";

const PAUSE = 3000; // ms between two questions; up to five times as long where an answer and its pictures take long
let view = null;
let timer = 0;
let turn = 0;

function makeView() {
  const names = chosenValue("open", []);
  if (!names.length) return listView(openSome);
  if (chosenValue("kind", "sweep") === "training") return trainingView(names, goBack);
  return names.length === 1 ? sweepView(names[0], goBack) : compareSweeps(names, goBack);
}

function openSome(names, kind = view.kindOf?.(names[0])) {
  choose({ open: names, kind, ticked: null, search: null });
  show();
}

function goBack() {
  forget();
  show();
}

function show() {
  view?.close();
  clearListeners();
  view = makeView();
  document.body.replaceChildren(view.element);
  onChoice((changes) => view.changed(changes));
  scrollTo(0, 0);
  poll(++turn);
}

async function poll(mine) {
  clearTimeout(timer);
  const began = performance.now();
  keepAddress();
  const complete = await view.refresh().catch((error) => {
    console.error(error);
    return true;
  });
  if (mine !== turn || isReport) return;
  const took = performance.now() - began;
  timer = setTimeout(() => pollIfSeen(mine), complete ? Math.min(Math.max(PAUSE, 4 * took), 5 * PAUSE) : 100);
}

// A page that nobody sees asks nothing.
function pollIfSeen(mine) {
  if (document.visibilityState === "visible") poll(mine);
  else document.addEventListener("visibilitychange", () => mine === turn && poll(mine), { once: true });
}

// A report of one thing opens it.
async function openTheOnly() {
  const { entries = [] } = await ask("list");
  if (entries.length === 1 && !chosenValue("open")) choose({ open: [entries[0].name], kind: entries[0].kind });
}

export async function render() {
  document.documentElement.lang = "en";
  document.title = "Sweeps";
  if (!isReport) document.head.append(el("link", { rel: "stylesheet", href: "static/style.css" }));
  if (isReport) await openTheOnly();
  onAddress(show);
  followTheme(() => view?.redraw?.());
  show();
}
