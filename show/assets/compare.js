// Two of them side by side: another layer, another lens, or another reading, under one cursor.

let besideGeometry = null;
const SAME_STATES = "The patches' states are the same: ";
const SAME_WHY = ["no word reaches them before layer 1.", "the model reads them before the words in which the prompts differ."];

/** What is shown beside: {one, at, layer, lens, group, name}; null where nothing is. */
function besideOf() {
  const [kind, value] = state.beside.split(":");
  const own = kind === "layer";
  const one = own ? reading() : kind === "reading" ? data.readings[Number(value) - 1] : null;
  if (!one) return null;
  const wanted = own ? Number(value) : layerAt(state.layer).layer;
  const at = nearestLayer(one, wanted);
  if (own && one.layers[at].layer !== wanted) return null;
  const lenses = lensesOf(one);
  const lens = [state.besideLens, state.lens, lenses[0]].find((each) => lenses.includes(each));
  const group = groupsOf(one)[state.group] ? state.group : 0;
  const name = own ? `Layer ${wanted}` : `${readingName(Number(value) - 1)}, layer ${one.layers[at].layer}`;
  return { one, at, layer: one.layers[at], lens, group, name };
}

/** The number in a reading's layers of the layer closest to one of the model's. */
function nearestLayer(one, wanted) {
  const far = (at) => Math.abs(one.layers[at].layer - wanted);
  return one.layers.reduce((best, _, at) => (far(at) < far(best) ? at : best), 0);
}

/** Readings that can be put beside this one: of the same kind. */
function comparable() {
  return data.readings.map((one, number) => ({ one, number })).filter(
    ({ one, number }) => number !== state.reading && one.kind === reading().kind,
  ); // prettier-ignore
}

/** The lines of a prompt that others do not have, without the template's own tokens. */
function ownLines(one, alike) {
  if (one.kind !== "image") return "";
  const lines = (each) => each.prompt.split("\n").map((line) => line.replace(/<[^<>]*>/g, " ").replace(/\s+/g, " ").trim());
  const others = alike.map(lines);
  return lines(one)
    .filter((line) => line && !others.every((each) => each.includes(line)))
    .join(" ");
}

/** A reading's name; what tells it from others of the same image or text, where there are some. */
function readingName(number) {
  const one = data.readings[number];
  const name = sourceOf(one);
  const alike = data.readings.filter((each) => sourceOf(each) === name);
  if (alike.length < 2) return name;
  const facts = [
    (each) => each.model.id,
    (each) => each.model.dtype,
    (each) => ownLines(each, alike),
    (each) => lensesOf(each).map(lensTitle).join(", "),
    (each) => each.search.where.join(" and "),
    (each) => (each.search.distinct ? "every word once" : ""),
    (each) => (each.search.centring ? "centred" : ""),
    (each) => `read ${each.read.join(", ")}`,
    (each) => (each.answer_given ? `answer “${each.answer}”` : ""),
    (each) => `bank layers ${each.search.bank_layers.join(", ")}`,
    (each) => `layers ${each.layers.map((layer) => layer.layer).join(", ")}`,
  ];
  const telling = facts.filter((fact) => new Set(alike.map(fact)).size > 1).map((fact) => fact(one));
  const told = telling.filter(Boolean);
  return `${name} (${told.length ? told.join("; ") : alike.indexOf(one) + 1})`;
}

/**
 * The token of another reading at the same place: of an image where the middle lies, of a text of the same number, of a
 * prompt or an answer the one of the same kind and number.
 */
function twinOf(one, token, other, group) {
  if (one === other) return token;
  if (isPatch(one, token)) return patchAt(one, token, other, tokensOf(other, group));
  const alike = (each) => Array.from(each.tokens.index.keys()).filter((at) => each.tokens.kind[at] === one.tokens.kind[token]);
  const there = alike(other);
  const at = alike(one).indexOf(token);
  return there[one.kind === "text" ? Math.min(at, there.length - 1) : at] ?? null;
}

/** Among patches of a reading the one that lies where a patch of another, or the same, has its middle; or null. */
function patchAt(one, token, other, among) {
  const number = one.tokens.image[token];
  const there = other.images[number];
  if (!there) return null;
  const own = one.images[number];
  const [x0, y0, x1, y1] = one.tokens.box[token];
  const [x, y] = [((x0 + x1) / 2) * (there.width / own.width), ((y0 + y1) / 2) * (there.height / own.height)];
  const inside = among.find((each) => {
    const [left, top, right, bottom] = other.tokens.box[each];
    return other.tokens.image[each] === number && left <= x && x < right && top <= y && y < bottom;
  });
  return inside ?? null;
}

const isNarrow = () => globalThis.matchMedia("(max-width: 44rem)").matches;

/** The share of the column that one drawing takes. */
const figureShare = (wide) => (besideOf() && !isNarrow() ? Math.floor((wide - 14) / 2) : wide);

function drawBeside() {
  const beside = besideOf();
  byId("beside").hidden = !beside;
  byId("desk").classList.toggle("compare", Boolean(beside));
  besideGeometry = null;
  if (!beside) return;
  const { one, layer, lens, group } = beside;
  besideGeometry = geometryFor(one, group, geometry.room.wide, geometry.room.imageWide);
  const { group: drawn, legend } = paintView(one, layer, { ...viewOptions(), lens }, besideGeometry, theme());
  byId("beside-figure").replaceChildren(drawingOf(besideGeometry, drawn, markDifferences(beside), svg("g", { id: "beside-frames" })));
  const holder = byId("beside-legend");
  holder.replaceChildren();
  if (legend && legend.kind !== "ask") {
    const painted = paintLegend(one, legend, "currentColor");
    const look = { width: Math.ceil(painted.width), height: painted.height, "font-family": FONT, role: "img" };
    holder.append(svg("svg", { ...look, "aria-label": legendText(legend) }, painted.group));
  }
  drawBesideFrames();
}

/** Cells of the drawing beside whose best word is another than that of the same place here. */
function differing(beside) {
  const own = layerAt(state.layer);
  const ownLens = lensesOf(reading()).includes(state.lens) ? state.lens : lensesOf(reading())[0];
  const best = (layer, lens, token) => {
    const at = bestOf(layer.lenses[lens], token);
    return at < 0 ? "" : folded(wordOf(lens, layer.lenses[lens].entry[at]));
  };
  const there = besideGeometry.cells.map((cell) => ({ cell, twin: twinOf(beside.one, cell.token, reading(), state.group) }));
  const both = there.filter(({ twin }) => twin !== null);
  const other = ({ cell, twin }) => best(beside.layer, beside.lens, cell.token) !== best(own, ownLens, twin);
  return { of: both.length, cells: both.filter(other).map(({ cell }) => cell), same: sameStates(beside, both) };
}

/** Whether two prompts left the patches' states as they are: words behind an image cannot change them in most models. */
function sameStates(beside, both) {
  const [one, other, own] = [reading(), beside.one, layerAt(state.layer)];
  const patches = both.filter(({ twin }) => isPatch(one, twin));
  const alike = one.model.weights === other.model.weights && own.layer === beside.layer.layer;
  return (
    one.prompt !== other.prompt && alike && patches.length > 0 &&
    one.images.every(({ sha256 }, number) => sha256 === other.images[number]?.sha256) &&
    patches.every(({ cell, twin }) => beside.layer.norm[cell.token] === own.norm[twin])
  ); // prettier-ignore
}

/** A corner on each of them, and their number in the name of what is beside. */
function markDifferences(beside) {
  const { of, cells, same } = differing(beside);
  const told = of ? ` · another best word at ${cells.length} of ${of}` : "";
  byId("beside-name").textContent = `${beside.name} · ${lensTitle(beside.lens)}${told}`;
  if (same) byId("beside-name").append(`. ${SAME_STATES}${SAME_WHY[Math.min(beside.layer.layer, 1)]}`);
  const corner = ({ x, y, w, h }) => {
    const side = Math.min(14, w / 3, h / 3);
    const points = `${tidy(x + w - side)},${tidy(y)} ${tidy(x + w)},${tidy(y)} ${tidy(x + w)},${tidy(y + side)}`;
    return svg("polygon", { points, fill: "#d6336c", stroke: "#ffffff", "stroke-width": 1 });
  };
  return svg("g", { id: "beside-differences", "pointer-events": "none" }, ...cells.map(corner));
}

function drawBesideFrames() {
  const frames = byId("beside-frames");
  const beside = besideOf();
  if (!frames || !beside || !besideGeometry) return;
  const cell = (token) => {
    const twin = token === null ? null : twinOf(reading(), token, beside.one, beside.group);
    return besideGeometry.cells.find((each) => each.token === twin);
  };
  const [chosen, pointed] = [cell(state.token), hovered === state.token ? null : cell(hovered)];
  frames.replaceChildren(
    ...(pointed ? paintFrame(pointed, 1.5) : []),
    ...(chosen ? paintFrame(chosen, state.locked ? 4 : 2.5) : []),
  );
}

/** What the other one says of the same place. */
function drawBesideWords() {
  const beside = besideOf();
  const holder = byId("beside-words");
  holder.hidden = !beside;
  holder.replaceChildren();
  if (!beside) return;
  const twin = twinOf(reading(), state.token, beside.one, beside.group);
  holder.append(el("h3", { class: "beside-title", text: `Beside: ${beside.name}` }));
  if (twin === null) holder.append(el("p", { class: "nothing", text: "Nothing there in the other reading." }));
  else holder.append(lensSection(beside.one, beside.lens, beside.layer, twin));
}

function drawBesideControls() {
  const one = reading();
  const others = comparable();
  byId("beside-bar").hidden = one.layers.length < 2 && lensesOf(one).length < 2 && !others.length;
  const option = (value, text) => el("option", { value, text });
  const choices = [option("", "nothing")];
  choices.push(
    el("optgroup", { label: "This reading" }, ...one.layers.map(({ layer }) => option(`layer:${layer}`, `Layer ${layer}`))),
  );
  if (others.length) {
    choices.push(
      el("optgroup", { label: "Another reading" }, ...others.map(({ number }) => option(`reading:${number + 1}`, readingName(number)))),
    );
  }
  byId("beside-what").replaceChildren(...choices);
  const beside = besideOf();
  byId("beside-what").value = beside ? state.beside : "";
  const lenses = beside ? lensesOf(beside.one) : [];
  byId("beside-lens").replaceChildren(...lenses.map((lens) => option(lens, lensTitle(lens))));
  byId("beside-lens").value = beside?.lens ?? "";
  byId("beside-lens").hidden = lenses.length < 2;
}

/** The token of this reading under a place of the other. */
function ownTokenAt(event) {
  const beside = besideOf();
  const token = tokenAt(event);
  return beside && token !== null ? twinOf(beside.one, token, reading(), state.group) : null;
}

function readCompare() {
  const all = ["reading", "layer", "beside", "besideLens", "lens", "group"];
  watch([...all], drawBesideControls);
  watch([...all, "colour", "scale", "words", "find", "phrase", "large"], drawBeside);
  watch([...all, "token"], drawBesideWords);
  watch(["token", "locked"], drawBesideFrames);
  byId("beside-what").addEventListener("change", (event) => change({ beside: event.target.value, besideLens: "" }));
  byId("beside-lens").addEventListener("change", (event) => change({ besideLens: event.target.value }));
  const figure = byId("beside-figure");
  figure.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") point(ownTokenAt(event));
  });
  figure.addEventListener("pointerleave", () => point(null));
  figure.addEventListener("click", (event) => {
    const token = ownTokenAt(event);
    if (token !== null) pin(token);
  });
}
