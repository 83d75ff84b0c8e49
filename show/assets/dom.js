// Elements. Text only ever becomes a text node or an attribute's value, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id. */
const byId = (id) => document.getElementById(id);

/** An HTML element; `on*` in the attributes are listeners, `text` its text, false or null leaves one out. */
function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text of unknown language: its direction is found from its letters and stays inside. */
function foreign(text, attributes = {}) {
  return el("bdi", { dir: "auto", text, ...attributes });
}

/** `1 patch`, `7 patches`. */
function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

const graphemes = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** What a reader would call the characters of a text. */
function characters(text) {
  return graphemes ? Array.from(graphemes.segment(text), (part) => part.segment) : Array.from(text);
}

const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** Width of a text at 100 px, in the page's own font. */
function textWidth(text, weight = 600) {
  const key = `${weight} ${text}`;
  if (!widths.has(key)) {
    pen.font = `${weight} 100px ${FONT}`;
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}

const FONT = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();

/** The text, cut with an ellipsis to fit `width` pixels at `size`. */
function cutToWidth(text, size, width, weight = 600) {
  if ((textWidth(text, weight) * size) / 100 <= width) return text;
  const parts = characters(text.slice(0, 400));
  let low = 0;
  let high = parts.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const shown = `${parts.slice(0, middle).join("")}…`;
    if ((textWidth(shown, weight) * size) / 100 <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${parts.slice(0, low).join("").trimEnd()}…` : "";
}
