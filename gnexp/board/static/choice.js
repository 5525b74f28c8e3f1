// What the user has chosen, kept in the address, so that a reload or a link shows the same.

const KEY = "sweeps-choice";
let chosen = readAddress();
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

function readAddress() {
  try {
    const part = whose().location.hash.slice(1).split("&").find((text) => text.startsWith(`${KEY}=`));
    const found = part ? JSON.parse(decodeURIComponent(part.slice(KEY.length + 1))) : {};
    return typeof found === "object" && found !== null ? found : {};
  } catch {
    return {};
  }
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
