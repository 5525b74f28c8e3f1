// One sweep in the browser: its rows, kept up to date, and which of them the filters and brushes leave.

import { ask } from "./source.js";
import { chosenValue } from "./choice.js";
import { short, withSpread } from "./words.js";

export const FIGURES = [
  { path: "mean", numeric: true, figure: true },
  { path: "interval", numeric: true, figure: true },
  { path: "test", numeric: true, figure: true },
  { path: "test_interval", numeric: true, figure: true },
  { path: "test_loss", numeric: true, figure: true },
  { path: "trained", numeric: true, figure: true },
  { path: "seconds", numeric: true, figure: true },
  { path: "ended", numeric: true, figure: true },
  { path: "message", numeric: false, figure: true },
];

const BESIDE = 0.12;

export class SweepData {
  constructor(name) {
    this.name = name;
    this.version = "";
    this.about = {};
    this.rows = new Map();
    this.columns = [];
  }

  // Fetches what has changed; returns whether anything has.
  async refresh() {
    const found = await ask("sweep", this.name, this.version);
    if (found.problem) {
      const news = this.about.problem !== found.problem;
      this.about = { ...this.about, problem: found.problem };
      return news;
    }
    const recovered = Boolean(this.about.problem);
    delete this.about.problem;
    if (found.unchanged) return recovered;
    const before = JSON.stringify([this.about.counts, this.about.problems]);
    const news = found.version !== this.version || found.all;
    this.version = found.version;
    if (found.all) this.rows = new Map();
    for (const row of found.trials) this.rows.set(row.id, row);
    const { trials: _, ...about } = found;
    this.about = { ...this.about, ...about };
    if (found.columns) this.columns = found.columns;
    return news || recovered || before !== JSON.stringify([this.about.counts, this.about.problems]);
  }

  get fileName() {
    return this.name === "." ? "sweep" : this.name.split("/").at(-1);
  }

  get all() {
    return [...this.rows.values()];
  }

  // What the figures can be: of the objective, and of the test figure.
  get bounds() {
    return this.about.bounds ?? {};
  }

  better(a, b) {
    return this.about.direction === "max" ? a > b : a < b;
  }

  // The order of two completed trials, as in gnexp/analysis/outcomes.py: in a race those with all epochs and several
  // seeds come first, and not the single training that was luckiest.
  order(a, b) {
    const standing = (row) => ("tuner/seed" in row.values ? [row.values["tuner/epochs"], Math.min(row.scores.length, 2)] : [0, 0]);
    const [[epochs, seeds], [others, its]] = [standing(a), standing(b)];
    return others - epochs || its - seeds || (this.better(a.mean, b.mean) ? -1 : this.better(b.mean, a.mean) ? 1 : 0);
  }

  // The completed trials that no other one continued.
  get counted() {
    const completed = this.ranked();
    const continued = new Set(completed.map((row) => row.values["tuner/trial_id"]));
    return completed.filter((row) => !continued.has(row.id));
  }

  // For each trial the score of the best one until then.
  bestSoFar(rows) {
    let best = null;
    return rows.map((row) => (best = this.best(best ? [best, row] : [row]))?.mean ?? null);
  }

  // The best of all.
  get leader() {
    return this.rows.get(this.about.best?.[0]);
  }

  // Its figures in words, over all of its seeds.
  leads() {
    const [, mean, interval, test, spread] = this.about.best ?? [];
    return { score: withSpread(mean, interval, this.bounds.objective), test: withSpread(test, spread, this.bounds.headline) };
  }

  best(rows) {
    return rows.reduce((best, row) => (row.mean !== undefined && (!best || this.order(row, best) < 0) ? row : best), null);
  }

  ranked(rows = this.all) {
    return rows.filter((row) => row.mean !== undefined).sort((a, b) => this.order(a, b));
  }

  // All columns of the table, the hyperparameters and then the figures.
  tableColumns() {
    return [{ path: "id", numeric: false, figure: true }, { path: "status", numeric: false, figure: true }, ...this.columns, ...FIGURES];
  }

  label(path) {
    const names = { id: "trial", mean: this.about.objective, interval: "± 95%", test: `test ${this.about.headline}`, test_interval: "± 95% of test", test_loss: "test loss", trained: "epochs trained" };
    return names[path] ?? path;
  }

  // The rows that the filters of the table and the brushes of the parallel coordinates leave.
  visible() {
    const states = chosenValue("states");
    const paths = new Set(this.tableColumns().map(({ path }) => path)); // A link may be older than the columns.
    const filters = Object.entries(chosenValue("filters", {})).filter(([path]) => paths.has(path)).map(([path, text]) => [path, matcher(text)]);
    const brushes = Object.entries(chosenValue("brushes", {}));
    const axes = new Map(this.axes().map((axis) => [axis.path, axis]));
    return this.all.filter(
      (row) =>
        (!states || states.includes(row.status)) &&
        filters.every(([path, matches]) => matches(cell(row, path))) &&
        brushes.every(([path, ranges]) => {
          const axis = axes.get(path);
          return !axis || ranges.some(([low, high]) => (low ?? -Infinity) <= axis.place(row) && axis.place(row) <= (high ?? Infinity));
        }),
    );
  }

  axes() {
    const shown = [...this.columns, { path: "mean", numeric: true, figure: true, range: null, log: false }];
    return shown.map((column) => makeAxis(column, this.all));
  }
}

// A row's value in a column, undefined where it has none.
export function cell(row, path) {
  return path in row.values ? row.values[path] : row[path];
}

// What a filter's text asks for: "adam", "0.1..0.5", ">0.9", "<=3", "=8".
export function matcher(text) {
  const wanted = text.trim().toLowerCase();
  const range = wanted.match(/^(-?[\d.e+-]*)\.\.(-?[\d.e+-]*)$/);
  if (range) {
    const low = range[1] === "" ? -Infinity : Number(range[1]);
    const high = range[2] === "" ? Infinity : Number(range[2]);
    if (!Number.isNaN(low) && !Number.isNaN(high)) return (value) => typeof value === "number" && low <= value && value <= high;
  }
  const compared = wanted.match(/^(<=|>=|<|>|=)\s*(.+)$/);
  if (compared) {
    const [, sign, side] = compared;
    const limit = Number(side);
    if (sign === "=") return (value) => value !== undefined && (value === limit || writings(value).includes(side));
    const tests = { "<": (v) => v < limit, ">": (v) => v > limit, "<=": (v) => v <= limit, ">=": (v) => v >= limit };
    if (!Number.isNaN(limit)) return (value) => typeof value === "number" && tests[sign](value);
  }
  return (value) => value !== undefined && String(value).toLowerCase().includes(wanted);
}

// How a value is written somewhere on the page.
function writings(value) {
  const texts = typeof value === "number" ? [short(value), withSpread(value), value.toFixed(4)] : [String(value)];
  return texts.map((text) => text.toLowerCase());
}

// Where a column's values lie on an axis: numbers as they are or as their log10, names side by side, and below
// them the place of what a trial does not have, because it is not searched there or because it failed.
export function makeAxis(column, rows) {
  const known = rows.map((row) => cell(row, column.path)).filter((value) => value !== undefined && value !== null);
  const asNumbers = column.numeric && !(column.listed && column.values.length <= 12);
  const missing = known.length < rows.length;
  if (asNumbers) {
    const log = column.log && known.every((value) => value > 0);
    const scale = (value) => (log ? Math.log10(value) : value);
    const ends = (column.range ?? extent(known)).map(scale);
    const gap = 0.12 * (ends[1] - ends[0] || 1);
    const absent = ends[0] - gap;
    const range = [missing ? absent : ends[0], ends[1] > ends[0] ? ends[1] : ends[0] + 1];
    const place = (row) => {
      const value = cell(row, column.path);
      return value === undefined || value === null ? absent : scale(value);
    };
    return { ...column, log, asNumbers, place, scale, absent, missing, lowest: ends[0], range, names: null, unscale: (x) => (log ? 10 ** x : x) };
  }
  const names = [...new Set([...(column.values ?? []), ...known])];
  const index = new Map(names.map((name, place) => [name, place]));
  const place = (row) => index.get(cell(row, column.path)) ?? -1;
  return { ...column, asNumbers, place, absent: -1, missing, range: [missing ? -1 : 0, Math.max(names.length - 1, 1)], names, log: false };
}

// Where a row is drawn on an axis of Plotly's: trials with the same name are spread a little.
export function beside(axis, row) {
  return axis.asNumbers ? cell(row, axis.path) : axis.place(row) + BESIDE * (((Number(row.id) * 7) % 11) / 5 - 1);
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}
