// Numbers and hyperparameters as a person reads them.

export function short(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return Array.isArray(value) ? value.map(short).join(", ") : String(value);
  return String(Number(value.toPrecision(4)));
}

export function withSpread(mean, interval) {
  if (mean === null || mean === undefined) return "";
  return mean.toFixed(4) + (interval === null || interval === undefined ? "" : ` ± ${interval.toFixed(4)}`);
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
