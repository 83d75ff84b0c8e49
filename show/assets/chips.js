// Tokens that are no patches, as chips in lines: those of a text, or of the prompt and the answer under the images.

const isPatch = (one, token) => one.tokens.row[token] !== null;

const chipsKnown = new Map();

/** Numbers of the tokens that are no patches, in the order of the sequence; of a text, none: there they are all there is. */
function chipsOf(one) {
  if (!chipsKnown.has(one)) {
    const all = Array.from(one.tokens.index.keys());
    chipsKnown.set(one, one.kind === "image" ? all.filter((token) => !isPatch(one, token)) : []);
  }
  return chipsKnown.get(one);
}

/** Numbers of the tokens that summaries and ranges of colours are of: the patches, where there are any. */
function mainTokens(one) {
  const chips = new Set(chipsOf(one));
  const all = Array.from(one.tokens.index.keys());
  return chips.size < all.length ? all.filter((token) => !chips.has(token)) : all;
}

/** `49 patches`, `5 tokens`, `49 patches and 5 tokens`. */
function countedTokens(one, tokens) {
  const patches = tokens.filter((token) => isPatch(one, token)).length;
  const parts = [];
  if (patches || (one.kind === "image" && !chipsOf(one).length)) parts.push(counted(patches, "patch", "patches"));
  if (patches < tokens.length || !parts.length) parts.push(counted(tokens.length - patches, "token"));
  return parts.join(" and ");
}

const NOTHING_READ = "No token was read"; // as where only an answer is read, and the model gives none
const KIND_NAMES = { prompt: "Prompt token", answer: "Answer token", special: "Special token", text: "Token" };

/** What is before a token's own text in its name; a patch's whole name. */
function nameBefore(one, token) {
  if (!one.tokens.index.length) return NOTHING_READ;
  return isPatch(one, token) ? placeName(one, token) : `${KIND_NAMES[one.tokens.kind[token]]} `;
}

/** `Row 2, column 3`, `Answer token ␣dog`. */
const nameOf = (one, token) => nameBefore(one, token) + (isPatch(one, token) ? "" : chipText(one, token));

/** The same as elements: what a token says may be written from right to left. */
const nameNodes = (one, token) => [nameBefore(one, token), ...(isPatch(one, token) ? [] : [foreign(chipText(one, token))])];

const chipText = (one, token) => tokenText(one.tokens.text[token]);

/** The place of the name in running text. */
const inText = (name) => name.charAt(0).toLowerCase() + name.slice(1);

/** A token as a person reads it: without the marks that tokenizers put for spaces, and with line ends shown. */
function tokenText(label) {
  const text = label
    .replace(/^[Ġ▁\s]+(?=[^\s])/u, "")
    .replace(/[Ċ\n]/gu, "↵")
    .replace(/[ĉ\t]/gu, "⇥");
  return text.replace(/^[Ġ▁ ]+$/u, "␣") || "·";
}

// Sizes in px. A text has nothing but its tokens, so they may be larger.
const TEXT_CHIP = { high: 53, gap: 5, token: 17, word: 14, tokenAt: 22, wordAt: 39, least: 52 };
const SMALL_CHIP = { high: 43, gap: 5, token: 14, word: 12.5, tokenAt: 17, wordAt: 32, least: 52 };
const LABEL = 22; // for a line that says what follows
const UNDER_IMAGE = 10;

const RIGHT_TO_LEFT = /^[^\p{L}]*[\p{sc=Hebrew}\p{sc=Arabic}\p{sc=Syriac}\p{sc=Thaana}]/u;

/** Lines of chips from `top` down, at most `width` wide: {cells, bottom}. What has no token stands between them. */
function chipLines(items, width, top, size, rightToLeft) {
  const cells = [];
  const line = size.high + size.gap;
  let [x, y] = [0, top];
  for (const { token, kind, text } of items) {
    const w = Math.min(width, Math.max(size.least, Math.ceil((textWidth(text, 600) * size.token) / 100) + 16));
    if (x && x + w > width) [x, y] = [0, y + line];
    cells.push({ token, kind, text, size, rightToLeft, x: rightToLeft ? width - x - w : x, y, w, h: size.high });
    x += w + size.gap;
  }
  return { cells, bottom: items.length ? y + size.high : y };
}

/** The drawing of a text. */
function textGeometry(one, width) {
  const items = tokensOf(one, 0).map((token) => ({ token, kind: "text", text: chipText(one, token) }));
  const { cells, bottom } = chipLines(items, width, 0, TEXT_CHIP, RIGHT_TO_LEFT.test(one.source));
  return { width, height: bottom || TEXT_CHIP.high, cells, panes: [], labels: [], marks: [], room: { wide: width, imageWide: width } };
}

/** The prompt's tokens, with a mark where each image stands in it, and the answer's: [{label, text, items}]. */
function chipSections(one) {
  const { kind, index } = one.tokens;
  const chips = chipsOf(one);
  const said = chips.filter((token) => kind[token] === "answer");
  const from = said.length ? index[said[0]] : Infinity;
  const items = (tokens) => tokens.map((token) => ({ token, kind: kind[token], text: chipText(one, token) }));
  const prompt = items(chips.filter((token) => index[token] < from));
  const answer = items(chips.filter((token) => index[token] >= from));
  if (prompt.length) markImages(one, prompt);
  const dashed = (list) => (list.some((item) => item.kind === "special") ? "; dashed: special tokens" : "");
  return [
    { label: `Prompt${dashed(prompt)}`, text: one.prompt, items: prompt },
    { label: `Answer, ${one.answer_given ? "as it was given" : "the model's own"}${dashed(answer)}`, text: one.answer ?? "", items: answer },
  ].filter((section) => section.items.length);
}

/** A token has read what stands before it: so it matters on which side of it an image stands. */
function markImages(one, items) {
  const { image, index } = one.tokens;
  one.images.forEach((_, number) => {
    const first = image.findIndex((each) => each === number);
    if (first < 0) return;
    const after = items.findIndex((item) => item.token !== undefined && index[item.token] > index[first]);
    const mark = { kind: "mark", text: one.images.length > 1 ? `image ${number + 1}` : "image" };
    items.splice(after < 0 ? items.length : after, 0, mark);
  });
}

/** What is drawn under the images: {cells, marks, labels, bottom}. */
function chipGeometry(one, width, top) {
  const [cells, labels] = [[], []];
  let y = top;
  for (const { label, text, items } of chipSections(one)) {
    labels.push({ x: 0, y: y + 15, text: label, width });
    const drawn = chipLines(items, width, y + LABEL, SMALL_CHIP, RIGHT_TO_LEFT.test(text));
    cells.push(...drawn.cells);
    y = drawn.bottom + UNDER_IMAGE;
  }
  return {
    cells: cells.filter((cell) => cell.token !== undefined),
    marks: cells.filter((cell) => cell.token === undefined),
    labels,
    bottom: cells.length ? y - UNDER_IMAGE : top,
  };
}

/** How a chip of a kind is framed: a kind can be told without colours, too. */
function chipFrame(kind, theme) {
  if (kind === "special") return { stroke: rgb(INK[theme]), "stroke-opacity": 0.45, "stroke-dasharray": "3 3" };
  if (kind === "answer") return { stroke: WORD_OF_TEXT[theme], "stroke-opacity": 0.85, "stroke-width": 1.5 };
  return { stroke: rgb(INK[theme]), "stroke-opacity": 0.22 };
}

/** A token above the word that it is nearest to. */
function paintToken({ x, y, w, text, size, kind }, ink) {
  return svg("text", {
    x: tidy(x + w / 2),
    y: tidy(y + size.tokenAt),
    "text-anchor": "middle",
    "font-size": size.token,
    "font-weight": kind === "special" ? 450 : 600,
    fill: ink,
    text: cutToWidth(text, size.token, w - 8),
  });
}

/** Names of images, what the chips are, and where images stand among them. */
function paintLabels({ labels, marks }, theme) {
  const quiet = { fill: rgb(INK[theme]), "fill-opacity": 0.72 };
  const lines = labels.map(({ x, y, text, width }) =>
    svg("text", { x: tidy(x), y: tidy(y), "font-size": 13, ...quiet, text: cutToWidth(text, 13, width, 400) }),
  );
  const places = marks.map((cell) =>
    svg(
      "g",
      {},
      svg("rect", { ...box(cell), "data-kind": "mark", rx: 6, fill: rgb(INK[theme]), "fill-opacity": 0.09 }),
      svg("text", { x: tidy(cell.x + cell.w / 2), y: tidy(cell.y + cell.h / 2 + 4.5), "text-anchor": "middle", "font-size": 13, ...quiet, text: cutToWidth(cell.text, 13, cell.w - 6, 400) }),
    ),
  );
  return [...lines, ...places];
}
