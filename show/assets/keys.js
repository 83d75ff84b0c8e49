// The keyboard. Arrows walk the patches unless another control has the focus; what else moves them needs
// the focus on the image; the rest works everywhere.

const KEYS = [
  ["← ↑ → ↓", "walk from patch to patch, and on to the tokens of prompt and answer"],
  ["Home End", "first and last patch of the row"],
  ["Enter, space", "pin the patch, or unpin it"],
  ["Esc", "unpin"],
  ["[ ]", "previous and next layer; Page Up and Page Down do the same"],
  ["1 2 3 4 5 6", "plain, score, where is…, bank layer, norm, above chance"],
  ["/", "type a word to look for"],
  ["w", "the words in the patches"],
  ["l", "the next lens in the patches"],
  ["v", "the next view, where an image has several"],
  [", .", "previous and next image"],
  ["f", "enlarge the image"],
  ["c", "copy what the patch means"],
  ["s", "save the view as PNG"],
  ["t", "light, dark, or as the system is"],
  ["?", "this list"],
];

const COLOURS = ["none", "score", "find", "bank", "norm", "gap"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What a key does anywhere on the page. */
const ANYWHERE = {
  "[": () => stepLayer(-1),
  "]": () => stepLayer(1),
  "/": () => setColour("find") ?? focusFind(),
  w: () => change({ words: !state.words }),
  l: () => setLens(nextOf(lensesOf(reading()), state.lens)),
  v: () => showGroup((state.group + 1) % groupsOf(reading()).length),
  ",": () => showReading(state.reading - 1),
  ".": () => showReading(state.reading + 1),
  f: () => change({ large: !state.large }),
  c: () => copyText(patchText(), "What the patch means"),
  s: () => savePng(),
  t: () => nextTheme(),
  "?": () => showKeys(),
  Escape: () => change({ locked: false }),
};
COLOURS.forEach((colour, at) => (ANYWHERE[at + 1] = () => setColour(colour)));

/** What a key does while the image has the focus. */
const ON_FIGURE = {
  PageUp: () => stepLayer(-1),
  PageDown: () => stepLayer(1),
  Enter: () => pin(state.token),
  " ": () => pin(state.token),
  Home: () => walkToEnd(-1),
  End: () => walkToEnd(1),
};

const nextOf = (list, now) => list[(list.indexOf(now) + 1) % list.length];

function focusFind() {
  drawNow();
  byId("find").focus();
  byId("find").select();
}

/** Choose the next patch in a direction and pin it, so that the pointer does not take it away. */
function walk(dx, dy) {
  const one = reading();
  const next = isPatch(one, state.token) || dy ? neighborTo(geometry.cells, state.token, dx, dy) : alongChips(dx);
  change({ token: next, locked: true });
  speakSoon();
}

/** The chip before or after, over the ends of lines. */
function alongChips(dx) {
  const cells = geometry.cells.filter((cell) => cell.kind);
  const at = cells.findIndex((cell) => cell.token === state.token);
  return cells[at + (cells[at]?.rightToLeft ? -dx : dx)]?.token ?? state.token;
}

function walkToEnd(dx) {
  let token = state.token;
  for (let next = neighborTo(geometry.cells, token, dx, 0); next !== token;) {
    token = next;
    next = neighborTo(geometry.cells, token, dx, 0);
  }
  change({ token, locked: true });
  speakSoon();
}

function showKeys() {
  const dialog = byId("keys");
  if (!dialog.open) dialog.showModal();
}

/** Whether arrows that nothing else has taken are meant for the image, not for scrolling. */
function figureIsVisible() {
  const { top, bottom } = byId("figure").getBoundingClientRect();
  return top < globalThis.innerHeight * 0.8 && bottom > globalThis.innerHeight * 0.2;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const at = event.target;
  if (at.id === "find" && event.key === "Escape") {
    byId("figure").focus();
    event.preventDefault();
    return;
  }
  if (at.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea")) return;
  const onFigure = at === byId("figure");
  const arrow = onFigure || (at === document.body && figureIsVisible()) ? ARROWS[event.key] : null;
  const action = arrow ? () => walk(...arrow) : ((onFigure ? ON_FIGURE[event.key] : null) ?? ANYWHERE[event.key]);
  if (!action) return;
  event.preventDefault();
  action();
}

function readKeys() {
  document.addEventListener("keydown", onKey);
  byId("show-keys").addEventListener("click", showKeys);
  const cells = ([keys, what]) =>
    el(
      "tr",
      {},
      el(
        "th",
        { scope: "row" },
        ...keys.split(" ").flatMap((key) => [el("kbd", { text: key.replace(",", "") || "," }), " "]),
      ),
      el("td", { text: what }),
    );
  byId("key-table").append(el("tbody", {}, ...KEYS.map(cells)));
}
