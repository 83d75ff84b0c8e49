// A token of the prompt or the answer: where it stands, and what the model says next.

const AROUND = { before: 120, after: 60 }; // characters

/** The file that a patch is of; of another token all of them. */
const sourceOfToken = (one, token) => (isPatch(one, token) ? one.images[one.tokens.image[token]].source : sourceOf(one));

/** The text around a chip, grey from where its state has not read. */
function drawContext(one, token) {
  const { start, end, kind } = one.tokens;
  const text = kind[token] === "answer" ? one.answer : one.prompt;
  const holder = byId("context");
  const from = kind[token] === "text" ? null : (start?.[token] ?? null);
  holder.hidden = from === null || !text;
  if (holder.hidden) return;
  const to = end[token];
  const [first, last] = [Math.max(0, from - AROUND.before), Math.min(text.length, to + AROUND.after)];
  holder.replaceChildren(
    (first ? "…" : "") + text.slice(first, from),
    el("mark", { text: text.slice(from, to) }),
    el("span", { class: "unseen", text: text.slice(to, last) + (last < text.length ? "…" : "") }),
  );
}

/** What the model says next here, beside what LogitLens says of the state at this layer. */
function drawEmitted() {
  const one = reading();
  const emitted = emittedAt(one, state.token);
  const holder = byId("emitted");
  holder.hidden = !emitted;
  if (!emitted) return;
  const says = one.answer_given ? "The model itself would say next" : "The model says next";
  const word = el("b", { title: `token ${emitted.token} (${emitted.tokenId})` }, foreign(emitted.word));
  holder.replaceChildren(`${says}: `, word, lensesOf(one).includes("logit") ? ` · ${emittedRank(one, emitted)}` : "");
}

function emittedRank(one, emitted) {
  const entries = entriesOf(layerAt(state.layer), "logit", state.token);
  const rank = entries.findIndex((entry) => entry.tokenId === emitted.tokenId) + 1;
  if (!rank) return `not among LogitLens' ${counted(entries.length, "word")} at this layer`;
  return rank === 1 ? "LogitLens' first word at this layer" : `word ${rank} of LogitLens at this layer`;
}

function readPosition() {
  watch(["reading", "layer", "token"], drawEmitted);
}
