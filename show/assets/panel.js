// The chosen patch: what each lens says of it at this layer.

const LITTLE = 0.02; // a score no further above chance than this says next to nothing
const MAX_SHOWN = 50; // a list longer than this is shown on request

let shownAll = false;

function drawPanel() {
  const one = reading();
  const layer = layerAt(state.layer);
  shownAll = false;
  byId("panel").classList.toggle("nothing", !one.tokens.index.length);
  drawPatchHead(one, layer);
  drawCaution(layer, state.token);
  drawLenses();
  drawHow(one, layer);
}

function drawPatchHead(one, layer) {
  const name = byId("patch-name");
  const token = state.token;
  name.replaceChildren(...nameNodes(one, token));
  byId("patch-facts").textContent = patchFacts(one, layer, token).join(" · ");
  drawCrop(one, token);
  drawContext(one, token);
}

/** Where the patch is, and how large its state. */
function patchFacts(one, layer, token) {
  const facts = [`layer ${layer.layer}`];
  if (!one.tokens.index.length) return facts;
  const box_ = one.tokens.box[token];
  if (box_) {
    const [x0, y0, x1, y1] = box_.map((edge) => Math.round(edge * 10) / 10);
    facts.push(`x ${x0}–${x1}, y ${y0}–${y1} px`);
  } else {
    facts.push(`position ${one.tokens.index[token]}`);
  }
  facts.push(`norm ${layer.norm[token]} (${timesText(timesMedian(layer, token))} median)`);
  return facts;
}

/** What a high score of this state may come from beside the image. */
function drawCaution(layer, token) {
  const unusual = isOutlier(layer, token);
  byId("caution").hidden = !unusual;
  if (!unusual) return;
  byId("caution").textContent =
    `The norm of this state is ${timesText(timesMedian(layer, token))} the median of its layer. Such states are often ` +
    (isPatch(reading(), token)
      ? "near the same few words whatever the image shows: look at the patches around it before you believe a high score."
      : "near the same few words whatever the text says. In most models, the first position is one of them.");
}

/** The parts of the panel in words, with what is in it as the example. */
function drawHow(one, layer) {
  const lens = lensesOf(one)[0];
  const [entry] = entriesOf(layer, lens, state.token);
  const word = entry ? `“${entry.word.trim() || entry.token}”` : "a word";
  const score = entry ? scoreText(entry) : "a score";
  const bank = entry && isLatent(lens) ? ` Here: bank layer ${entry.bankLayer}.` : "";
  const thing = isPatch(one, state.token) ? "patch" : "token";
  const parts = [
    ["Lens", `LatentLens compares the ${thing}'s hidden state with the states of words in sentences. LogitLens applies the model's output head to it. EmbeddingLens compares it with the model's input embeddings.`],
    ["Layer", `The layer that the state comes from. ${layer.layer ? `Here: ${layer.layer}, the output of block ${layer.layer} of the language model` : "Here: 0, the input of the language model"}.`],
    ["Word and score", `The best word is ${word} at ${score}. The score of LatentLens and EmbeddingLens is a cosine: 1 means the same direction. Cosines of different layers, models or banks cannot be compared. A high score alone proves nothing: some states are near everything.`],
    ["Above chance", chanceText(one, lens, entry)],
    ["Sentence", "The word's place in the corpus. The grey part comes after the word, so the word's state cannot have seen it."],
    ["Bank layer", `The layer that the word's state was taken from. It can differ from the ${thing}'s layer.${bank}`],
    ["Norm", `The length of the state: ${layer.norm[state.token]} here, ${timesText(timesMedian(layer, state.token))} the median. The cosine ignores it, but states with an unusual norm often have high scores with words that have nothing to do with the ${thing}.`],
  ]; // prettier-ignore
  byId("how-list").replaceChildren(...parts.flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })]));
}

/** What the second number and the tick on the bar are. */
function chanceText(one, lens, entry) {
  if (!entry || Number.isNaN(entry.gap))
    return "How far the score stands above chance is not known here: an older version made the reading, the bank is small, or the lens gives probabilities, which are already relative to the whole vocabulary.";
  const rows = isLatent(lens) ? `random rows of bank layer ${entry.bankLayer}` : "random entries of the vocabulary";
  const worth = entry.gap < LITTLE ? "Many rows are as near, so the word says next to nothing." : "The further above, the more the word says.";
  return `The tick on the bar (${entry.reach.toFixed(2)} here) is the score that one in a hundred ${rows} reaches for this state; ${gapText(entry.gap)} is how far the score stands above it. ${worth} LogitLens has no tick, because its probabilities are already relative to the whole vocabulary.`;
}

let crop = null;

/** The patch and what is around it, magnified. The image stays; only the window on it moves. */
function drawCrop(one, token) {
  const holder = byId("crop");
  const place = one.tokens.box[token];
  const image = one.tokens.image[token];
  if (!place || !pictureOf(one, image)) {
    holder.replaceChildren();
    return;
  }
  if (crop?.one !== one || crop.image !== image) crop = makeCrop(one, image);
  if (holder.firstChild !== crop.drawing) holder.replaceChildren(crop.drawing);
  const [x0, y0, x1, y1] = place;
  const side = Math.max(x1 - x0, y1 - y0) * 2;
  crop.drawing.setAttribute("viewBox", `${(x0 + x1 - side) / 2} ${(y0 + y1 - side) / 2} ${side} ${side}`);
  crop.frames.forEach((frame, number) => {
    const edges = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, "stroke-width": side / (number ? 40 : 22) };
    for (const [name, value] of Object.entries(edges)) frame.setAttribute(name, value);
  });
}

function makeCrop(one, number) {
  const { width, height } = one.images[number];
  const image = { href: pictureOf(one, number), width, height, preserveAspectRatio: "none" };
  const frames = ["#ffffff", "#16150f"].map((stroke) => svg("rect", { fill: "none", stroke }));
  return { one, image: number, frames, drawing: svg("svg", { width: 64, height: 64 }, svg("image", image), ...frames) };
}

function drawLock() {
  const lock = byId("lock");
  lock.setAttribute("aria-pressed", state.locked);
  lock.textContent = state.locked ? "Pinned" : "Pin";
  lock.title = state.locked ? "Unpin this patch (click it again, or Esc)" : "Pin this patch while the pointer moves (click it, or Enter)";
}

function drawLenses() {
  const one = reading();
  const lenses = lensesOf(one);
  const holder = byId("lenses");
  holder.dataset.count = lenses.length;
  holder.replaceChildren(...lenses.map((lens) => lensSection(one, lens)));
  keepHeight(holder);
}

let tallest = { width: 0, height: 0 };

/** What stands below must not jump while the pointer moves over patches: the lists only ever grow. */
function keepHeight(holder) {
  holder.style.minHeight = "";
  const { width, height } = holder.getBoundingClientRect();
  const room = Math.min(height, globalThis.innerHeight);
  tallest = { width, height: width === tallest.width ? Math.max(room, tallest.height) : room };
  holder.style.minHeight = `${tallest.height}px`;
}

function lensSection(one, lens, layer = layerAt(state.layer), token = state.token) {
  const entries = entriesOf(layer, lens, token);
  const emitted = emittedAt(one, token);
  const about = LENSES[lens]?.about;
  const section = el(
    "section",
    { class: isLatent(lens) ? "lens" : "lens short", "data-lens": lens },
    el("h3", { text: lensTitle(lens) }, about ? el("small", { text: about }) : null),
  );
  if (!entries.length) {
    section.append(el("p", { class: "nothing", text: nothingSaid(one, lens) }));
    return section;
  }
  const shown = shownAll ? entries : entries.slice(0, MAX_SHOWN);
  section.append(el("ol", {}, ...shown.map((entry) => entryItem(one, lens, entry, emitted))));
  if (shown.length < entries.length) section.append(showAllButton(entries.length));
  return section;
}

function nothingSaid(one, lens) {
  if (isLatent(lens) && one.search.where.length) return "No neighbour meets the filters.";
  return "No neighbours.";
}

function showAllButton(count) {
  const onclick = () => {
    shownAll = true;
    drawLenses();
    drawBesideWords();
  };
  return el("button", { type: "button", text: `Show all ${count}`, onclick });
}

function entryItem(one, lens, entry, emitted) {
  const value = entry.probability ?? entry.score;
  const word = el("span", { class: entry.raw ? "word raw" : "word", title: entryTitle(lens, entry) }, wordLine(entry));
  const said = lens === "logit" && emitted?.tokenId === entry.tokenId;
  const fill = el("div", { class: "fill" });
  fill.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
  const known = !Number.isNaN(entry.gap);
  const tick = known ? el("div", { class: "chance" }) : null;
  if (known) tick.style.left = `${100 * Math.min(1, Math.max(0, entry.reach))}%`;
  const above = known
    ? el("small", { class: entry.gap < LITTLE ? "above little" : "above" }, gapText(entry.gap), el("span", { class: "spoken", text: " above chance" }))
    : null;
  const parts = [
    said ? el("span", {}, word, el("small", { class: "said", text: "said next" })) : word,
    el("div", { class: "track", "aria-hidden": "true" }, fill, tick),
    el("span", { class: "score" }, el("span", { class: "number", text: scoreText(entry) }), above),
  ];
  if (isLatent(lens)) parts.push(layerMark(one, entry.bankLayer));
  const line = el("div", { class: "entry" }, ...parts);
  return el("li", {}, line, isLatent(lens) ? sentenceLine(entry) : null);
}

/** The word; grey where it goes on after the token, which the state has not seen. */
function wordLine({ word, start, seen, end }) {
  const shown = foreign(word);
  if (seen < end && end - start === word.length) {
    shown.replaceChildren(word.slice(0, seen - start), el("span", { class: "unseen", text: word.slice(seen - start) }));
  }
  return shown;
}

function scoreText(entry) {
  if (entry.probability === null) return shownScore(entry.score);
  return percent(entry.probability);
}

function entryTitle(lens, entry) {
  const facts = [`token ${entry.token} (${entry.tokenId})`, `score ${entry.score}`];
  if (entry.probability !== null) facts.push(`probability ${entry.probability}`);
  if (!Number.isNaN(entry.gap)) facts.push(`chance reaches ${entry.reach.toFixed(4)}, the score is ${gapText(entry.gap)} above it`);
  if (isLatent(lens))
    facts.push(`bank layer ${entry.bankLayer}`, `${entry.document}`, ...(entry.isWord ? [] : ["not a whole word"]));
  return facts.join("\n");
}

function layerMark(one, bank) {
  const colour = bankColour(one, bank);
  const mark = el(
    "span",
    { class: "layer-mark", title: `bank layer ${bank}` },
    el("span", { class: "spoken", text: "bank layer " }),
    `L${bank}`,
  );
  mark.style.background = rgb(colour);
  mark.style.color = inkOn(colour);
  return mark;
}

/** The sentence: its word marked, and grey from where the state could not see it. */
function sentenceLine({ sentence, start, seen, end }) {
  const part = (from, to) => sentence.slice(from, to);
  const mark = el(
    "mark",
    {},
    part(start, seen),
    end > seen ? el("span", { class: "unseen", text: part(seen, end) }) : null,
  );
  return el(
    "p",
    { class: "sentence", dir: "auto" },
    part(0, start),
    end > start ? mark : null,
    el("span", { class: "unseen", text: part(end, sentence.length) }),
  );
}

/** The chosen patch as text, for a note or a message. */
function patchText() {
  const one = reading();
  const layer = layerAt(state.layer);
  const what = one.kind === "image" ? sourceOfToken(one, state.token) : `"${one.source}"`;
  const lines = [
    `${what}, ${inText(nameOf(one, state.token))}, ${patchFacts(one, layer, state.token).join(", ")}`,
    `model ${one.model.id}`,
  ];
  const emitted = emittedAt(one, state.token);
  if (emitted) lines.push(`the model says next: ${emitted.word}`);
  for (const lens of lensesOf(one)) {
    lines.push("", lensTitle(lens));
    const entries = entriesOf(layer, lens, state.token);
    if (!entries.length) lines.push("  nothing");
    for (const entry of entries) lines.push(`  ${entryText(lens, entry)}`);
  }
  return `${lines.join("\n")}\n`;
}

function entryText(lens, entry) {
  const score = entry.probability === null ? entry.score.toFixed(3) : scoreText(entry);
  const above = Number.isNaN(entry.gap) ? "" : `\t${gapText(entry.gap)} above chance`;
  if (!isLatent(lens)) return `${entry.word}\t${score}${above}`;
  const { sentence, start, end } = entry;
  const from = `${entry.document || entry.corpus}`;
  const marked = `${sentence.slice(0, start)}[${sentence.slice(start, end)}]${sentence.slice(end)}`;
  return `${entry.word}\t${score}${above}\tbank layer ${entry.bankLayer}\t${marked.replace(/\s+/g, " ")}\t${from}`;
}

let speaking = null;

/** Say the chosen patch to a screen reader, once the keys rest. */
function speakSoon() {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const one = reading();
    const layer = layerAt(state.layer);
    const emitted = emittedAt(one, state.token);
    const next = emitted ? ` The model says next: ${emitted.word}.` : "";
    const said = lensesOf(one).map((lens) => {
      const words = entriesOf(layer, lens, state.token)
        .slice(0, 3)
        .map((entry) => `${entry.word} ${scoreText(entry)}`);
      return `${lensTitle(lens)}: ${words.join(", ") || "nothing"}`;
    });
    byId("spoken").textContent =
      `${nameOf(one, state.token)}, layer ${layer.layer}${state.locked ? ", pinned" : ""}.${next} ${said.join(". ")}`;
  }, 180);
}

function readPanel() {
  watch(["reading", "layer", "token"], drawPanel);
  watch(["reading", "locked"], drawLock);
  byId("lock").addEventListener("click", () => pin(state.token));
  byId("copy-patch").addEventListener("click", () => copyText(patchText(), "What the patch means"));
}
