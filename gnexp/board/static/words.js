// Numbers and hyperparameters as a person reads them.

export function short(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return Array.isArray(value) ? value.map(short).join(", ") : String(value);
  return String(Number(value.toPrecision(4)));
}

// The two ends of a 95% interval, which is cut off at what its figure can be: gnexp/analysis/intervals.py has the same.
export function ends(mean, interval, bounds) {
  const [low, high] = [bounds?.[0] ?? -Infinity, bounds?.[1] ?? Infinity];
  const known = low <= mean && mean <= high;
  return [Math.max(mean - interval, known ? low : -Infinity), Math.min(mean + interval, known ? high : Infinity)];
}

// Four decimals, or for a loss that is very small or large three digits.
function decimals(mean, interval, bounds) {
  const scale = Math.max(Math.abs(mean), interval ?? 0);
  const bounded = Number.isFinite(bounds?.[0] ?? NaN) && Number.isFinite(bounds?.[1] ?? NaN);
  return scale === 0 || (scale >= 5e-5 && scale < 1e6) || bounded ? (number) => number.toFixed(4) : threeDigits;
}

// As Python writes them: 3.5e-05, 1.23e+06.
function threeDigits(number) {
  const [digits, power] = number.toExponential(2).split("e").map(Number);
  if (power >= -4 && power < 3) return String(Number(number.toPrecision(3)));
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

// An interval in words: half its width, or where it is cut off its two ends.
export function spread(mean, interval, bounds) {
  const said = decimals(mean, interval, bounds);
  const [low, high] = ends(mean, interval, bounds);
  const cut = [low > mean - interval, high < mean + interval];
  if (cut[0] && cut[1]) return "(too few seeds)";
  if (!cut[0] && !cut[1]) return `± ${said(interval)}`;
  return `(${cut[0] ? low : said(low)} to ${cut[1] ? high : said(high)})`;
}

export function withSpread(mean, interval, bounds) {
  if (mean === null || mean === undefined) return "";
  return decimals(mean, interval, bounds)(mean) + (interval === null || interval === undefined ? "" : ` ${spread(mean, interval, bounds)}`);
}

// The same for a picture.
export function errorBars(means, intervals, bounds) {
  const reach = means.map((mean, index) => ends(mean, intervals[index] ?? 0, bounds));
  return { type: "data", symmetric: false, array: reach.map(([, high], index) => high - means[index]), arrayminus: reach.map(([low], index) => means[index] - low) };
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${seconds < 10 ? Number(seconds.toPrecision(2)) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Number((seconds / 3600).toPrecision(2))} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function moment(seconds) {
  if (!seconds) return "";
  const date = new Date(1000 * seconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function inWords(values) {
  return Object.entries(values).map(([path, value]) => `${path}=${short(value)}`).join("  ");
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

// Plotly reads a few tags in labels; this shows them as they were written.
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
