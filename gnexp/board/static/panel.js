// A part of the page: a heading, controls, a picture that is drawn when it comes into view, and its table.

import { el, fill, simpleTable } from "./dom.js";
import { loadPlotly } from "./plot.js";

const MOST_ROWS = 200;

// The parts' `update(place)` draws the picture; `table()` gives [headers, rows] for those who do not see it.
export function makePanel({ id, title, note = "", controls = () => [], update, table = null, height = 380 }) {
  const place = el("div", { class: "figure", style: `height:${height}px`, role: "img", "aria-label": title, "data-name": id });
  const bar = el("div", { class: "controls" });
  const text = el("p", { class: "note" });
  const beside = el("details", {}, el("summary", {}, "As a table"));
  const inside = el("div");
  beside.append(inside);
  const element = el("section", { id: `panel-${id}`, class: "panel" }, el("h2", {}, title), bar, text, place, table ? beside : null);
  let inView = false;
  let stale = true;

  const showTable = () => {
    if (!beside.open || !table) return;
    const [headers, rows] = table();
    const rest = rows.length > MOST_ROWS ? el("p", { class: "note" }, `The first ${MOST_ROWS} of ${rows.length} rows.`) : null;
    fill(inside, simpleTable(headers, rows.slice(0, MOST_ROWS), title), rest);
  };
  const showAround = () => {
    fill(bar, controls());
    showTable();
  };
  const show = async () => {
    if (!inView || !stale) return;
    stale = false;
    text.textContent = typeof note === "function" ? note() : note;
    showAround();
    if (!(await loadPlotly())) {
      fill(place, el("p", { class: "note" }, "The pictures need Plotly: pip install plotly, then start TensorBoard again."));
      place.style.height = "auto";
      return;
    }
    await update(place, text);
    showAround(); // Some know only now what there is.
  };
  beside.addEventListener("toggle", showTable);
  const observer = new IntersectionObserver(
    (entries) => {
      inView = entries.at(-1).isIntersecting;
      show();
    },
    { rootMargin: "300px" },
  );
  observer.observe(element);
  return {
    element,
    // Draws again what is in view, and the rest when it comes into view.
    refresh: () => {
      stale = true;
      return show();
    },
    close: () => {
      observer.disconnect();
      globalThis.Plotly?.purge(place);
    },
  };
}
