// What the reader has chosen. It is mirrored in the address, so that a link opens the page as it was.

const state = {
  reading: 0, // number of the image or text
  layer: 0, // number in the reading's layers, not the model's
  token: 0, // number in the reading's tokens
  locked: false,
  lens: "latent",
  group: 0, // which views are shown, see layout.js
  colour: "none", // none, score, gap, find, bank or norm
  scale: "layer", // of the score's colours: this layer's range, or that of all
  words: true,
  find: "",
  phrase: false,
  large: false,
  sheet: false, // whether the contact sheet is open
  sort: "given", // of its images
  beside: "", // what is shown beside: layer:8 of this reading, or reading:2
  besideLens: "", // of that; the same lens where it is empty
};

const watchers = [];

/** Call `draw` when one of these parts of the state has changed, and once at the start. */
function watch(parts, draw) {
  watchers.push({ parts, draw });
}

let nextFrame = null;
const pending = new Set();

/** Change the state; everything that depends on it is drawn again before the next frame. */
function change(parts) {
  for (const [name, value] of Object.entries(parts)) {
    if (state[name] !== value) {
      state[name] = value;
      pending.add(name);
    }
  }
  if (pending.size && nextFrame === null) nextFrame = requestAnimationFrame(drawNow);
}

/** Draw what is waiting to be drawn. */
function drawNow() {
  if (nextFrame !== null) cancelAnimationFrame(nextFrame);
  nextFrame = null;
  const changed = new Set(pending);
  pending.clear();
  for (const { parts, draw } of watchers) if (parts.some((part) => changed.has(part))) draw();
  if (changed.size) saveAddress();
}

/** Draw everything. */
function drawAll() {
  Object.keys(state).forEach((name) => pending.add(name));
  drawNow();
}

/** `view:row,col` of a patch, the position of another token: the same at every layer. */
function tokenName(one, token) {
  const { view, row, col, index } = one.tokens;
  return view[token] === null ? `${index[token]}` : `${view[token]}:${row[token]},${col[token]}`;
}

/** What else belongs to the state, by names of its own: of a server's page, which readings it has. */
let moreState = () => ({});

/** The state as an address's fragment. */
function addressOf() {
  const one = reading();
  const parts = new URLSearchParams(moreState());
  if (data.readings.length > 1) parts.set("reading", state.reading + 1);
  if (one.layers.length) parts.set("layer", layerAt(state.layer).layer);
  if (one.tokens.index.length) parts.set("patch", tokenName(one, state.token));
  if (state.locked) parts.set("pinned", 1);
  if (lensesOf(one).length > 1) parts.set("lens", state.lens);
  if (state.colour !== "none") parts.set("colour", state.colour);
  if (state.scale !== "layer") parts.set("scale", state.scale);
  if (!state.words) parts.set("words", 0);
  if (state.find) parts.set("find", state.find);
  if (state.phrase) parts.set("phrase", 1);
  if (state.large) parts.set("large", 1);
  if (state.sheet) parts.set("sheet", 1);
  if (state.sort !== "given") parts.set("sort", state.sort);
  if (besideOf()) {
    parts.set("beside", state.beside);
    if (state.besideLens) parts.set("besidelens", state.besideLens);
  }
  // Commas and colons may stand in a fragment; a person can then read it.
  return `#${parts.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")}`;
}

let saving = null;

/** Keep the address up to date, but not a hundred times a second while the pointer moves. */
function saveAddress() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    try {
      history.replaceState(null, "", addressOf());
    } catch {
      // Some browsers forbid this for files on disk: the page works without it.
    }
  }, 200);
}

/** The state that an address asks for; what it does not name, or names wrongly, stays as chosen here. */
function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const number = Number.parseInt(parts.get("reading") ?? "1", 10) - 1;
  state.reading = data.readings[number] ? number : 0;
  const one = reading();
  Object.assign(state, beginning(one));
  const layer = one.layers.findIndex((each) => String(each.layer) === parts.get("layer"));
  if (layer >= 0) state.layer = layer;
  if (lensesOf(one).includes(parts.get("lens"))) state.lens = parts.get("lens");
  const token = one.tokens.index.findIndex((_, each) => tokenName(one, each) === parts.get("patch"));
  if (token >= 0) {
    state.token = token;
    state.group = groupOf(one, token);
    state.locked = (parts.get("pinned") ?? parts.get("held")) === "1"; // links of earlier pages say held
  }
  if (["score", "gap", "find", "bank", "norm"].includes(parts.get("colour"))) state.colour = parts.get("colour");
  state.scale = parts.get("scale") === "all" ? "all" : "layer";
  if (parts.has("words")) state.words = parts.get("words") !== "0";
  state.find = parts.get("find") ?? "";
  state.phrase = parts.get("phrase") === "1";
  state.large = parts.get("large") === "1";
  state.sheet = parts.get("sheet") === "1";
  state.sort = ["patches", "best", "name"].includes(parts.get("sort")) ? parts.get("sort") : "given";
  state.beside = parts.get("beside") ?? "";
  state.besideLens = parts.get("besidelens") ?? "";
}

/** How a reading is first shown: its middle layer, and there a patch or token that says something. */
function beginning(one) {
  const tokens = tokensOf(one, 0);
  const layer = Math.floor(one.layers.length / 2);
  const token = tellingOf(one, layer, tokens.length ? tokens : mainTokens(one)) ?? 0;
  return { layer, lens: lensesOf(one)[0], group: 0, token, locked: false };
}

/**
 * The patch whose best word stands furthest above chance; of equals the one nearest the middle, of tokens the first. Where chance is not known,
 * the highest score whose state is of a usual size: scores of unusual ones are high whatever the image shows.
 */
function tellingOf(one, at, tokens) {
  const layer = one.layers[at];
  const found = layer?.lenses[lensesOf(one)[0]];
  if (!found) return middleOf(one, tokens);
  const measure = found.reach ? gapAt : strength;
  const score = (token) => {
    const at = bestOf(found, token);
    const value = at < 0 ? NaN : measure(found, at);
    return Number.isNaN(value) ? -Infinity : value;
  };
  const usual = found.reach ? tokens : tokens.filter((token) => !isOutlier(layer, token));
  const among = usual.length ? usual : tokens;
  const best = Math.max(...among.map(score));
  return middleOf(one, among.filter((token) => score(token) === best));
}

function middleOf(one, tokens) {
  if (!one.tokens.box[tokens[0]]) return tokens[0]; // tokens of text: the first
  const fromMiddle = (token) => {
    const [x0, y0, x1, y1] = one.tokens.box[token];
    const { width, height } = one.images[one.tokens.image[token]];
    return Math.hypot((x0 + x1 - width) / 2, (y0 + y1 - height) / 2);
  };
  return tokens.reduce((best, token) => (fromMiddle(token) < fromMiddle(best) ? token : best), tokens[0]);
}

/** Another image or text, at the layer and lens that were shown, where it has them. */
function showReading(number) {
  if (number === state.reading || !data.readings[number]) return;
  const layer = layerAt(state.layer)?.layer;
  const lens = state.lens;
  state.reading = number;
  const one = reading();
  const first = beginning(one);
  const same = one.layers.findIndex((each) => each.layer === layer);
  Object.assign(state, first, {
    layer: same >= 0 ? same : first.layer,
    lens: lensesOf(one).includes(lens) ? lens : first.lens,
    beside: state.beside === `reading:${number + 1}` ? "" : state.beside,
  });
  drawAll();
}
