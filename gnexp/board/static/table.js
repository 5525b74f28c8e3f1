// The table of trials: only the rows in view are on the page, so that thousands scroll smoothly.

import { choose, chosenValue } from "./choice.js";
import { button, download, el, fill, tick } from "./dom.js";
import { cell } from "./sweep_data.js";
import { count, duration, moment, short, spread, withSpread } from "./words.js";

const HEIGHT = 28;
const HIDDEN_AT_FIRST = ["interval", "test_interval", "test_loss", "ended", "trained"];
const STATES = ["completed", "running", "failed"];

export function trialTable(sweep, openTrial) {
  const head = el("thead");
  const body = el("tbody");
  const table = el("table", { class: "trials", "aria-label": "Trials" }, head, body);
  const box = el("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Table of trials; arrow keys move, Enter opens, Space draws the curves" }, table);
  const said = el("span", { class: "note", role: "status" });
  const tools = el("div", { class: "controls" });
  const element = el("section", { id: "panel-trials", class: "panel wide" }, el("h2", {}, "Trials"), tools, box);
  let rows = [];
  let active = 0;

  const hidden = () => chosenValue("hidden", HIDDEN_AT_FIRST);
  const columns = () => sweep.tableColumns().filter((column) => !hidden().includes(column.path));

  // Without a choice the trials are in their order, which in a race is not that of their scores.
  const order = () => chosenValue("sort", [sweep.about.tuner === "racing" ? null : "mean", sweep.about.direction === "min" ? 1 : -1]);

  function sorted() {
    const [path, sign] = order();
    if (path === null) {
      const visible = sweep.visible();
      return [...sweep.ranked(visible), ...visible.filter((row) => row.mean === undefined)];
    }
    return sweep.visible().sort((a, b) => compare(cell(a, path), cell(b, path), sign) || (a.id < b.id ? -1 : 1));
  }

  function buildTools() {
    const states = chosenValue("states", STATES);
    const boxes = STATES.map((state) =>
      tick(`${state} (${sweep.about.counts?.[state] ?? 0})`, states.includes(state), (on) => {
        const wanted = STATES.filter((each) => (each === state ? on : states.includes(each)));
        choose({ states: wanted.length === STATES.length ? null : wanted });
      }),
    );
    const chooser = el("details", { class: "chooser" }, el("summary", {}, "Columns"));
    for (const column of sweep.tableColumns()) {
      const change = (on) => choose({ hidden: on ? hidden().filter((path) => path !== column.path) : [...hidden(), column.path] });
      chooser.append(tick(sweep.label(column.path), !hidden().includes(column.path), change));
    }
    const clear = () => choose({ filters: null, brushes: null, states: null });
    fill(tools, said, boxes, chooser, button("Clear filters", clear), button("CSV", saveCsv), button("JSON", saveJson));
  }

  function buildHead() {
    const [path, sign] = order();
    const titles = columns().map((column) => {
      const mark = column.path === path ? (sign > 0 ? " ▲" : " ▼") : "";
      const flip = () => choose({ sort: [column.path, column.path === path ? -sign : column.numeric ? -1 : 1] });
      const sorting = column.path !== path ? "none" : sign > 0 ? "ascending" : "descending";
      return el("th", { scope: "col", "aria-sort": sorting, "data-key": column.path }, button(sweep.label(column.path) + mark, flip, { title: column.role ? `${column.path} (${column.role})` : column.path }));
    });
    const filters = columns().map((column) => {
      const text = chosenValue("filters", {})[column.path] ?? "";
      const hint = column.numeric ? "0.1..0.5, >3" : "text";
      const change = (event) => {
        const { [column.path]: _, ...others } = chosenValue("filters", {});
        const wanted = event.target.value.trim();
        choose({ filters: wanted ? { ...others, [column.path]: wanted } : Object.keys(others).length ? others : null });
      };
      return el("td", { "data-key": column.path }, el("input", { type: "search", value: text, placeholder: hint, "aria-label": `Filter ${sweep.label(column.path)}`, onchange: change }));
    });
    fill(head, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "unseen" }, "Curves")), titles), el("tr", { class: "filters" }, el("td"), filters));
  }

  function buildRow(row, index) {
    const picked = chosenValue("picked", []);
    const toggle = (on) => choose({ picked: on ? [...picked, row.id] : picked.filter((id) => id !== row.id) });
    const mark = el("input", { type: "checkbox", checked: picked.includes(row.id), "aria-label": `Draw the curves of trial ${row.id}`, onchange: (event) => toggle(event.target.checked) });
    const cells = columns().map((column) => {
      const value = cell(row, column.path);
      if (column.path === "id") return el("td", {}, button(row.id, () => openTrial(row.id), { class: "link" }));
      return el("td", { class: column.numeric ? "number" : "", title: column.path === "message" ? value : null }, shown(column.path, value, row, sweep.bounds));
    });
    return el("tr", { "data-key": row.id, "aria-rowindex": String(index + 2), class: `${row.status}${index === active ? " active" : ""}` }, el("td", {}, mark), cells);
  }

  function drawRows() {
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 10);
    const last = Math.min(rows.length, first + Math.ceil(box.clientHeight / HEIGHT) + 20);
    const space = (height) => (height > 0 ? el("tr", { "aria-hidden": "true" }, el("td", { colspan: "99", style: `height:${height}px` })) : null);
    fill(body, space(first * HEIGHT), rows.slice(first, last).map((row, place) => buildRow(row, first + place)), space((rows.length - last) * HEIGHT));
  }

  function refresh() {
    rows = sorted();
    active = Math.min(active, Math.max(rows.length - 1, 0));
    table.setAttribute("aria-rowcount", String(rows.length + 2));
    said.textContent = `${rows.length} of ${count(sweep.rows.size, "trial")}`;
    buildTools();
    buildHead();
    drawRows();
  }

  function move(event) {
    if (event.target !== box) return;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -rows.length, End: rows.length };
    if (event.key in steps) {
      active = Math.min(Math.max(active + steps[event.key], 0), rows.length - 1);
      const top = active * HEIGHT;
      if (top < box.scrollTop) box.scrollTop = top;
      if (top > box.scrollTop + box.clientHeight - 4 * HEIGHT) box.scrollTop = top - box.clientHeight + 4 * HEIGHT;
      drawRows();
    } else if (event.key === "Enter" && rows[active]) openTrial(rows[active].id);
    else if (event.key === " " && rows[active]) {
      const picked = chosenValue("picked", []);
      const id = rows[active].id;
      choose({ picked: picked.includes(id) ? picked.filter((each) => each !== id) : [...picked, id] });
    } else return;
    event.preventDefault();
  }

  function saveCsv() {
    const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const inert = (value) => (typeof value === "string" && /^[=+@-]/.test(value) ? `'${value}` : value); // A spreadsheet would run it.
    const text = (value) => quoted(value === undefined || value === null ? "" : String(inert(value)));
    const lines = [columns().map((column) => text(column.path)), ...rows.map((row) => columns().map((column) => text(cell(row, column.path))))];
    download(`${sweep.fileName}.csv`, "text/csv", lines.map((line) => line.join(",") + "\r\n").join(""));
  }

  function saveJson() {
    const kept = rows.map((row) => Object.fromEntries(columns().map((column) => [column.path, cell(row, column.path) ?? null])));
    download(`${sweep.fileName}.json`, "application/json", JSON.stringify(kept, null, 1));
  }

  let waiting = 0;
  box.addEventListener("scroll", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(drawRows);
  });
  box.addEventListener("keydown", move);
  return { element, refresh, close: () => {} };
}

function shown(path, value, row, bounds) {
  if (path === "seconds") return duration(value);
  if (path === "ended") return moment(value);
  if (path === "interval" && typeof value === "number") return spread(row.mean, value, bounds.objective).replace("± ", "");
  if (path === "test_interval" && typeof value === "number") return spread(row.test, value, bounds.headline).replace("± ", "");
  if (["mean", "test", "test_loss"].includes(path) && typeof value === "number") return withSpread(value, null, path === "mean" ? bounds.objective : path === "test" ? bounds.headline : null);
  return short(value);
}

// Trials without a value come last, whatever the direction.
function compare(a, b, sign) {
  const missing = (value) => value === undefined || value === null;
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  if (typeof a === typeof b) return sign * (a < b ? -1 : a > b ? 1 : 0);
  return sign * String(a).localeCompare(String(b));
}
