// Elements of the page. What users wrote is only ever set as text, never as markup.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
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
