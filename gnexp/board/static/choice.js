// What the user has chosen, kept in the address, so that a reload or a link shows the same.

const KEY = "sweeps-choice";
const isText = (value) => typeof value === "string";
const isOn = (value) => value === true;
const areTexts = (value) => Array.isArray(value) && value.every(isText);
const isEach = (isRight) => (value) => typeof value === "object" && !Array.isArray(value) && Object.values(value).every(isRight);
const isRange = (value) => Array.isArray(value) && value.length === 2 && value.every((end) => end === null || typeof end === "number");
const areRanges = (value) => Array.isArray(value) && value.every(isRange);
const isSort = (value) => Array.isArray(value) && isText(value[0]) && (value[1] === 1 || value[1] === -1);
// What can be chosen, and how it looks; the rest of an address, which anyone may have written, is passed over.
const KNOWN = {
  ...{ open: areTexts, kind: isText, ticked: areTexts, search: isText, trial: isText, picked: areTexts },
  ...{ filters: isEach(isText), brushes: isEach(areRanges), states: areTexts, sort: isSort, hidden: areTexts },
  ...{ axesOff: areTexts, axesOrder: areTexts, contourX: isText, contourY: isText, contourRanks: isOn },
  ...{ progressX: isText, progressLog: isOn, plainSlices: isOn, curveFigure: isText, curveLog: isOn },
};
let chosen = readAddress() ?? {};
const listeners = new Set();

// TensorBoard's page around this one; this page itself in a report, or where the browser keeps the two apart.
function whose() {
  try {
    void window.parent.location.href;
    return window.parent;
  } catch {
    return window;
  }
}

// Returns null where the address says nothing of it.
function readAddress() {
  const part = whose().location.hash.slice(1).split("&").find((text) => text.startsWith(`${KEY}=`));
  if (!part) return null;
  try {
    const found = Object.entries(JSON.parse(decodeURIComponent(part.slice(KEY.length + 1))) ?? {});
    return Object.fromEntries(found.filter(([name, value]) => value !== null && Object.hasOwn(KNOWN, name) && KNOWN[name](value)));
  } catch {
    return {};
  }
}

// Writes the choice into the address again after TensorBoard, which forgets it between its tabs.
export function keepAddress() {
  const around = whose();
  const isHere = around === window || /^#sweeps(&|$)/.test(around.location.hash);
  if (isHere && Object.keys(chosen).length && readAddress() === null) writeAddress();
}

// Calls a function when a link is pasted that has another choice.
export function onAddress(listener) {
  whose().addEventListener("hashchange", () => {
    const found = readAddress();
    if (found === null) return keepAddress();
    if (JSON.stringify(found) === JSON.stringify(chosen)) return;
    chosen = found;
    listener();
  });
}

function writeAddress() {
  const around = whose();
  const others = around.location.hash.slice(1).split("&").filter((text) => text && !text.startsWith(`${KEY}=`));
  if (around !== window && !others.length) others.push("sweeps");
  const text = encodeURIComponent(JSON.stringify(chosen));
  around.history.replaceState(around.history.state, "", `#${[...others, `${KEY}=${text}`].join("&")}`);
}

export function chosenValue(name, otherwise = null) {
  return chosen[name] ?? otherwise;
}

export function choose(changes) {
  chosen = { ...chosen, ...changes };
  for (const name of Object.keys(chosen)) if (chosen[name] === null) delete chosen[name];
  writeAddress();
  for (const listener of [...listeners]) listener(changes);
}

export function forget() {
  chosen = {};
  writeAddress();
}

export function onChoice(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function clearListeners() {
  listeners.clear();
}
