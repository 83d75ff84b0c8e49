// The image or text on the left, and the controls around it.

let geometry = null;
let hovered = null;

const theme = () => document.documentElement.dataset.theme;

const TICK = 22; // px for the number of a layer below the slider
/** Height of what a server's page has above the readings: scrolled away, it takes nothing from the image. */
let moreAbove = () => 0;

const BELOW = 96; // px under the image for what explains it
const BELOW_CHIPS = 130; // more px, so that chips can be seen to be there

/** Widths that the drawing may take: the column's; of images no more than lets them be seen whole, unless enlarged. */
function roomForFigure(one) {
  // Not its clientWidth, which rounds up: two drawings beside each other would not fit.
  const wide = Math.max(180, figureShare(Math.floor(byId("view").getBoundingClientRect().width)));
  if (one.kind !== "image") return { wide, imageWide: wide };
  const top = byId("figure").getBoundingClientRect().top + globalThis.scrollY - moreAbove();
  const chips = chipsOf(one).length && !isNarrow() ? BELOW_CHIPS : 0;
  const columns = columnsIn(one, wide);
  const rows = Math.ceil(one.images.length / columns);
  const high = state.large ? Infinity : rows * Math.max(320, globalThis.innerHeight - top - BELOW - chips);
  const all = placeImages(one, state.group, wide, columns).height;
  return { wide, imageWide: Math.max(180, Math.floor(Math.min(wide, (high * wide) / all))) };
}

function drawFigure() {
  const one = reading();
  const figure = byId("figure");
  const layer = layerAt(state.layer);
  figure.classList.toggle("text", one.kind !== "image");
  figure.classList.toggle("alone", one.images.length === 1 && !chipsOf(one).length);
  const { wide, imageWide } = roomForFigure(one);
  geometry = geometryFor(one, state.group, wide, imageWide);
  const { group, legend } = paintView(one, layer, viewOptions(), geometry, theme());
  figure.replaceChildren(drawingOf(geometry, group, svg("g", { id: "frames" })));
  const shown = countedTokens(one, geometry.cells.map((cell) => cell.token)); // prettier-ignore
  figure.setAttribute("aria-label", `${shown} at layer ${layer.layer}`);
  drawLegend(one, legend);
  drawFrames();
  byId("print-caption").textContent = captionOf(one, layer);
}

/** A view as an image of the page. */
function drawingOf({ width, height }, ...parts) {
  const size = { width: tidy(width), height: tidy(height) };
  const look = { viewBox: `0 0 ${size.width} ${size.height}`, overflow: "visible", "font-family": FONT };
  return svg("svg", { ...size, ...look, "aria-hidden": "true" }, ...parts);
}

/** What is drawn, in one line: for paper and saved figures. */
function captionOf(one, layer) {
  const what = one.kind === "image" ? sourceOf(one) : "text";
  return `${what} · ${one.model.id} · layer ${layer.layer} · ${lensTitle(state.lens)}`;
}

function cellOf(token) {
  return geometry.cells.find((cell) => cell.token === token);
}

function drawFrames() {
  const frames = byId("frames");
  if (!frames) return;
  const chosen = cellOf(state.token);
  const pointed = hovered !== null && hovered !== state.token ? cellOf(hovered) : null;
  frames.replaceChildren(
    ...(pointed ? paintFrame(pointed, 1.5) : []),
    ...(chosen ? paintFrame(chosen, state.locked ? 4 : 2.5) : []),
  );
  frames.dataset.held = state.locked;
}

/** One line on the patch under the pointer, which another that is pinned keeps from the panel, or on the chosen one. */
function drawHovered() {
  const one = reading();
  if (!one.tokens.index.length) {
    byId("hovered").textContent = `${NOTHING_READ}.`;
    return;
  }
  const token = hovered ?? state.token;
  const found = layerAt(state.layer).lenses[state.lens];
  const at = bestOf(found, token);
  const said = at < 0 ? "nothing" : wordOf(state.lens, found.entry[at]);
  const gap = at < 0 ? NaN : gapAt(found, at);
  const above = Number.isNaN(gap) ? "" : ` (${gapText(gap)} above chance)`;
  const score = at < 0 ? "" : ` ${shownScore(strength(found, at), Boolean(found.probability))}${above}`;
  const held = state.locked && token === state.token ? " (pinned)" : "";
  byId("hovered").replaceChildren(`${nameOf(one, token)}: `, el("b", {}, foreign(said)), `${score}${held}`);
}

function drawLegend(one, legend) {
  const box_ = byId("legend");
  box_.replaceChildren();
  if (!legend) return;
  if (legend.kind === "ask") {
    box_.append("Type a word above, or choose one from the list of layers below.");
    return;
  }
  const { group, width, height } = paintLegend(one, legend, "currentColor");
  box_.append(
    svg(
      "svg",
      { width: Math.ceil(width), height, "font-family": FONT, role: "img", "aria-label": legendText(legend) },
      group,
    ),
  );
  if (legend.kind === "ramp") box_.append(scaleChoice());
  if (legend.kind === "found") {
    box_.append(`in ${countedTokens(one, legend.tokens)} of ${legend.total}`);
  }
}

function legendText(legend) {
  if (legend.kind === "ramp")
    return `${legend.title} from ${rampEnd(legend, legend.low)} (dark) to ${rampEnd(legend, legend.high)} (bright)`;
  if (legend.kind === "banks") return `bank layers ${legend.layers.join(", ")}, from dark to bright`;
  return `share of the ${legend.most} neighbours, from pale to strong`;
}

function scaleChoice() {
  const select = el(
    "select",
    { "aria-label": "Range of the colours", onchange: (event) => change({ scale: event.target.value }) },
    el("option", { value: "layer", text: "this layer's range" }),
    el("option", { value: "all", text: "range of all layers" }),
  );
  select.value = state.scale;
  return select;
}

/** Choose a token, unless another is pinned. */
function point(token) {
  hovered = token;
  if (!state.locked && token !== null) change({ token });
  drawFrames();
  drawBesideFrames();
  drawHovered();
}

/** Hold a token; once more lets it go. */
function pin(token) {
  const again = state.locked && token === state.token;
  change({ token, locked: !again });
  speakSoon();
}

function tokenAt(event) {
  const token = event.target.dataset?.token;
  return token === undefined ? null : Number(token);
}

function listenToFigure() {
  const figure = byId("figure");
  figure.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") point(tokenAt(event));
  });
  figure.addEventListener("pointerleave", () => point(null));
  figure.addEventListener("click", (event) => {
    const token = tokenAt(event);
    if (token !== null) pin(token);
  });
  // In the next frame: what is drawn anew changes sizes, and a change within the observer's own turn is an error to browsers.
  const fit = () => {
    if (!geometry) return;
    drawLayerBar();
    fitFigures();
  };
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(byId("view"));
  globalThis.addEventListener("resize", fitFigures);
}

/** Draw the image, and what is beside it, as wide as there is room. */
function fitFigures() {
  const { wide, imageWide } = roomForFigure(reading());
  if (wide === geometry.room.wide && imageWide === geometry.room.imageWide) return;
  drawFigure();
  drawBeside();
}

function drawControls() {
  const one = reading();
  const lenses = lensesOf(one);
  byId("lens").replaceChildren(...lenses.map((lens) => el("option", { value: lens, text: lensTitle(lens) })));
  byId("lens").value = state.lens;
  byId("lens").parentElement.hidden = lenses.length < 2;
  const groups = groupsOf(one);
  byId("group").replaceChildren(...groups.map((group, number) => el("option", { value: number, text: group.name })));
  byId("group").value = state.group;
  byId("group").hidden = groups.length < 2;
  const banks = lenses.includes(LATENT);
  for (const button of byId("colour").children) {
    button.setAttribute("aria-pressed", button.dataset.colour === state.colour);
    if (button.dataset.colour === "bank") button.disabled = !banks || !isLatent(state.lens);
    if (button.dataset.colour === "gap") button.disabled = !hasGaps(one, state.lens);
  }
  byId("words").checked = state.words;
  byId("find-bar").hidden = state.colour !== "find";
  if (byId("find") !== document.activeElement) byId("find").value = state.find;
  byId("phrase").checked = state.phrase;
  byId("phrase").parentElement.hidden = !isLatent(state.lens);
  byId("enlarge").setAttribute("aria-pressed", state.large);
  byId("desk").classList.toggle("large", state.large);
  const words = topWords(one, layerAt(state.layer), state.lens, Array.from(one.tokens.index.keys())).slice(0, 200);
  byId("find-words").replaceChildren(...words.map(({ word }) => el("option", { value: word })));
}

function drawLayerBar() {
  const one = reading();
  const last = one.layers.length - 1;
  const slider = byId("layer");
  slider.max = last;
  slider.value = state.layer;
  slider.disabled = last === 0;
  const layer = layerAt(state.layer).layer;
  slider.setAttribute("aria-valuetext", `layer ${layer}`);
  byId("layer-name").replaceChildren(`Layer ${layer}`, el("small", { text: layerAbout(one, layer) }));
  byId("layer-down").disabled = state.layer === 0;
  byId("layer-up").disabled = state.layer === last;
  const every = Math.ceil((one.layers.length * TICK) / Math.max(TICK, slider.clientWidth));
  byId("layer-ticks").replaceChildren(
    ...one.layers.flatMap((each, at) => {
      if (at % every && at !== state.layer) return [];
      const tick = el("span", {
        class: at === state.layer ? "here" : "",
        text: each.layer,
        onclick: () => change({ layer: at }),
      });
      tick.style.left = `${last ? (100 * at) / last : 50}%`;
      return [tick];
    }),
  );
}

function layerAbout(one, layer) {
  const last = one.model.n_layers;
  if (layer === 0) return "input embedding";
  return last ? `of ${last} blocks` : "";
}

/** Show another group of views, with the patch at the same place of the image chosen. */
function showGroup(group) {
  const one = reading();
  const there = tokensOf(one, group);
  const same = isPatch(one, state.token) ? patchAt(one, state.token, one, there) : state.token;
  change({ group, token: same ?? there[0] ?? state.token });
}

function listenToControls() {
  byId("layer").addEventListener("input", (event) => change({ layer: Number(event.target.value) }));
  byId("layer-down").addEventListener("click", () => stepLayer(-1));
  byId("layer-up").addEventListener("click", () => stepLayer(1));
  byId("colour").addEventListener("click", (event) => {
    const colour = event.target.dataset?.colour;
    if (colour) setColour(colour);
  });
  byId("words").addEventListener("change", (event) => change({ words: event.target.checked }));
  byId("lens").addEventListener("change", (event) => setLens(event.target.value));
  byId("group").addEventListener("change", (event) => showGroup(Number(event.target.value)));
  byId("find").addEventListener("input", (event) => change({ find: event.target.value }));
  byId("phrase").addEventListener("change", (event) => change({ phrase: event.target.checked }));
  byId("find-bar").addEventListener("submit", (event) => event.preventDefault());
  byId("enlarge").addEventListener("click", () => change({ large: !state.large }));
}

function stepLayer(step) {
  const layer = Math.min(reading().layers.length - 1, Math.max(0, state.layer + step));
  change({ layer });
  speakSoon();
}

/** Whether a lens's scores are told beside chance. */
const hasGaps = (one, lens) => one.layers.some((layer) => layer.lenses[lens].reach);

/** Colour the patches; where there is a word to type, go there. */
function setColour(colour) {
  if (colour === "bank" && !isLatent(state.lens)) return;
  if (colour === "gap" && !hasGaps(reading(), state.lens)) return;
  change({ colour });
  if (colour === "find" && !state.find) {
    drawNow();
    byId("find").focus();
  }
}

/** Draw another lens; only LatentLens has bank layers. */
function setLens(lens) {
  const lost = (state.colour === "bank" && !isLatent(lens)) || (state.colour === "gap" && !hasGaps(reading(), lens));
  change({ lens, colour: lost ? "none" : state.colour });
}

function readFigure() {
  const first = ["reading", "group", "layer", "lens", "colour", "scale", "words", "find", "phrase", "large", "beside"];
  watch([...first], drawControls);
  watch(["reading", "layer"], drawLayerBar);
  watch([...first], drawFigure);
  watch(["token", "locked"], drawFrames);
  watch(["reading", "token", "locked", "layer", "lens"], drawHovered);
  listenToFigure();
  listenToControls();
}
