// Elements of the page. What users wrote is only ever set as text, never as markup.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const HANDLERS = ["onclick", "onchange", "oninput"];
const keyOf = (node) => node.dataset?.key;
const alike = (one, other) => one.nodeName === other.nodeName && one.type === other.type && keyOf(one) === keyOf(other);

// Gives an element these children. Those that are there already stay, found by `data-key` or by their place, so that
// neither the keyboard's focus nor a click that has begun is lost when the page is filled again.
export function fill(element, ...children) {
  const focused = document.activeElement;
  const given = children.flat(Infinity).filter((child) => child !== null && child !== undefined);
  const wanted = given.map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const keys = new Set(wanted.map(keyOf));
  for (const old of [...element.children]) if (keyOf(old) && !keys.has(keyOf(old))) old.remove();
  const keyed = new Map([...element.children].map((old) => [keyOf(old), old]));
  let place = element.firstChild;
  for (const child of wanted) {
    const old = keyOf(child) ? keyed.get(keyOf(child)) : place;
    const reused = old && alike(old, child);
    const kept = reused ? old : child;
    if (kept === place) place = place.nextSibling;
    else element.insertBefore(kept, place);
    if (kept !== child) adopt(kept, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  return element;
}

// Makes one element like another, but for what the user has typed into it or folded.
function adopt(old, wanted) {
  if (!wanted.attributes) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  const names = [...old.attributes, ...wanted.attributes].map(({ name }) => name);
  for (const name of names.filter((each) => each !== "open")) {
    const value = wanted.getAttribute(name);
    if (value === null) old.removeAttribute(name);
    else if (value !== old.getAttribute(name)) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) old[name] = wanted[name];
  fill(old, ...wanted.childNodes);
  if (old.checked !== wanted.checked) old.checked = wanted.checked;
  const typing = old === document.activeElement && old.nodeName === "INPUT";
  if (old.value !== wanted.value && !typing) old.value = wanted.value;
}

// Text in which ** stands before and after what is important.
export function important(text) {
  return text.split("**").map((part, place) => (place % 2 ? el("strong", {}, part) : part));
}

export function simpleTable(headers, rows, caption) {
  const cells = (row, tag) => el("tr", {}, row.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, asCell(cell))));
  return el(
    "div",
    { class: "scrolled", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, cells(headers, "th")), el("tbody", {}, rows.map((row) => cells(row, "td")))),
  );
}

function asCell(cell) {
  if (cell === null || cell === undefined) return "";
  return cell instanceof Node ? cell : String(cell);
}

export function select(label, options, value, onchange) {
  const box = el("select", { onchange: (event) => onchange(event.target.value) });
  for (const [key, text] of options) box.append(el("option", { value: key, selected: key === value }, text));
  return el("label", {}, `${label} `, box);
}

export function tick(label, checked, onchange) {
  return el("label", {}, el("input", { type: "checkbox", checked, onchange: (event) => onchange(event.target.checked) }), ` ${label}`);
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
