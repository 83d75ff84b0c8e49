// The readings, as show/report_data.py packs them, and what can be counted in them.

/** For browsers without Uint8Array.fromBase64; a plain loop is ten times as fast as Uint8Array.from. */
function bytesOf(text) {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** What report_data.to_text made: JSON, deflated, in base64. */
async function unpacked(text) {
  const bytes = Uint8Array.fromBase64?.(text) ?? bytesOf(atob(text));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

byId("too-old").hidden = Boolean(globalThis.DecompressionStream);
const data = await unpacked(byId("data").textContent);
const LATENT = "latent";
const MARKS = ["Ġ", "▁", ""];
const KINDS = ["image", "prompt", "answer", "special", "text"];

/** A reading as it was packed, ready to be shown. */
function prepare(one) {
  one.tokens.kind = one.tokens.kind.map((kind) => KINDS[kind]);
  for (const layer of one.layers) {
    layer.tokens = one.tokens;
    for (const found of Object.values(layer.lenses))
    {
      found.score = Float64Array.from(found.score, (score) => score / 10_000);
      found.reach &&= Float64Array.from(found.reach, (reach) => (reach === null ? NaN : reach / 10_000));
    }
  }
}

data.readings.forEach(prepare);
// Doublings or halvings of the median norm from which on a state is an outlier: 1.8 times.
const OUTLIER = 0.85;

const LENSES = {
  latent: { title: "LatentLens", about: "nearest states of text", score: "cosine" },
  logit: { title: "LogitLens", about: "by the output head", score: "probability" },
  embedding: { title: "EmbeddingLens", about: "nearest embeddings", score: "cosine" },
};

const medianOf = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] || 1;

/** The median of a layer's norms, of patches or of the other tokens: theirs are of other sizes. */
function medianNorm(layer, token) {
  const { row } = layer.tokens;
  const alike = (patches) => medianOf(layer.norm.filter((_, each) => (row[each] !== null) === patches));
  layer.medians ??= { patch: alike(true), other: alike(false) };
  return row[token] === null ? layer.medians.other : layer.medians.patch;
}

/** How often a token's norm is the median of its layer. */
const timesMedian = (layer, token) => layer.norm[token] / medianNorm(layer, token);

/** Whether a state is so much larger or smaller than the others that its score says little. */
const isOutlier = (layer, token) => Math.abs(Math.log2(timesMedian(layer, token) || 1e-9)) > OUTLIER;

/** A norm as a person reads it beside the others. */
const timesText = (times) => `${times.toFixed(times < 9.95 ? 1 : 0)} ×`;

const lensTitle = (lens) => LENSES[lens]?.title ?? lens;
const reading = () => data.readings[state.reading];
const layerAt = (at) => reading().layers[at];
const pictureOf = (one, image) => data.pictures[one.images[image]?.picture] ?? null;

/** The names of a reading's images, or its text. */
const sourceOf = (one) => (one.kind === "image" ? one.images.map(({ source }) => source).join(", ") : one.source) || "(no text)";

/** What the model says next at a token's position: {word, tokenId}; null where that is not known. */
function emittedAt(one, token) {
  const entry = one.tokens.emitted?.[token] ?? -1;
  return entry < 0 ? null : { word: wordOf(null, entry), token: tokenOf(data.vocabulary, entry), tokenId: data.vocabulary.token_id[entry] };
}
const lensesOf = (one) => one.search.lenses;

/** What show/spelling.py writes for white space, bytes and characters that show nothing. */
const SPELT = /^(?:[␣↵␍⇥]|<0x[0-9A-F]{2}>|U\+[0-9A-F]{4})/u;

/** Whether a word has nothing to read: empty, or only bytes of a character. */
const isUnreadable = (word) => /^[\s\uFFFD]*$/u.test(word);

/** A word as it is shown: its token where it has nothing to read. */
function shownWord(word, token) {
  return isUnreadable(word) ? tokenText(token) : word.trim();
}

const starts = new WeakMap();

/** Where the entries of each token begin in a lens's lists; one more at the end. */
function startsOf(found) {
  let places = starts.get(found);
  if (!places) {
    places = new Uint32Array(found.count.length + 1);
    found.count.forEach((count, token) => (places[token + 1] = places[token] + count));
    starts.set(found, places);
  }
  return places;
}

/** The numbers of a token's entries in the lists of a lens at a layer: [first, one past the last]. */
function span(found, token) {
  const places = startsOf(found);
  return [places[token], places[token + 1]];
}

const isLatent = (lens) => lens === LATENT;

/** The tokenizer's own string of an entry. */
function tokenOf(table, entry) {
  const token = table.token[entry];
  return token < 0 ? MARKS[-1 - token] + data.strings[table.word[entry]] : data.strings[token];
}

/** The word of an entry of a lens's table. */
function wordOf(lens, entry) {
  const table = isLatent(lens) ? data.neighbors : data.vocabulary;
  return shownWord(data.strings[table.word[entry]], tokenOf(table, entry));
}

/** What a lens says of a token, best first, with everything there is to show. */
function entriesOf(layer, lens, token) {
  const found = layer.lenses[lens];
  const [first, last] = span(found, token);
  const entries = [];
  for (let at = first; at < last; at += 1) {
    const entry = found.entry[at];
    const common = {
      entry,
      word: wordOf(lens, entry),
      score: found.score[at],
      probability: found.probability?.[at] ?? null,
      reach: found.reach?.[at] ?? NaN,
      gap: gapAt(found, at),
    };
    entries.push(isLatent(lens) ? { ...common, ...neighbor(entry) } : { ...common, ...named(data.vocabulary, entry) });
  }
  return entries;
}

function named(table, entry) {
  const word = data.strings[table.word[entry]];
  return { token: tokenOf(table, entry), tokenId: table.token_id[entry], raw: isUnreadable(word) || SPELT.test(word) };
}

function neighbor(entry) {
  const table = data.neighbors;
  return {
    ...named(table, entry),
    sentence: data.strings[table.sentence[entry]],
    corpus: data.strings[table.corpus[entry]],
    document: data.strings[table.document[entry]] + (table.line[entry] < 0 ? "" : table.line[entry]),
    bankLayer: table.bank_layer[entry],
    isWord: Boolean(table.is_word[entry]),
    start: table.start[entry],
    seen: table.start[entry] + table.seen[entry],
    end: table.start[entry] + table.end[entry],
  };
}

/** How strong an entry is: what its lens compares by, a probability where there is one. */
const strength = (found, at) => found.probability?.[at] ?? found.score[at];

/** How far an entry stands above what chance reaches (docs/results.md); NaN where that is not known. */
const gapAt = (found, at) => (found.reach ? found.score[at] - found.reach[at] : NaN);

/** A gap as a person reads it. */
const gapText = (gap) => `${gap < 0 ? "−" : "+"}${Math.abs(gap).toFixed(2)}`;

/** The best entry of a token: its number in the lists, or -1. */
function bestOf(found, token) {
  const [first, last] = span(found, token);
  return first < last ? first : -1;
}

/** For comparing words: lower case, any apostrophe or hyphen, without what shows nothing (as schemas/words.py). */
const folded = (text) =>
  text
    .normalize("NFC")
    .toLowerCase()
    .replace(/[’‘ʼ＇]/g, "'")
    .replace(/[‐‑－﹣]/g, "-")
    .replace(/[\p{Cf}\p{Variation_Selector}\u034f\u0640]/gu, "");

const frequent = new Map();

/** The words that most of the tokens have among their entries: [{word, count}], most first. */
function topWords(one, layer, lens, tokens) {
  const key = `${data.readings.indexOf(one)} ${layer.layer} ${lens} ${tokens.length}`;
  if (frequent.has(key)) return frequent.get(key);
  const found = layer.lenses[lens];
  const counts = new Map();
  for (const token of tokens) {
    const [first, last] = span(found, token);
    const own = new Map();
    for (let at = first; at < last; at += 1) {
      const word = wordOf(lens, found.entry[at]);
      if (!own.has(folded(word))) own.set(folded(word), word);
    }
    for (const [key_, word] of own) {
      const seen = counts.get(key_);
      if (seen) seen.count += 1;
      else counts.set(key_, { word, count: 1 });
    }
  }
  const words = [...counts.values()].sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1));
  frequent.set(key, words);
  return words;
}

/** How many neighbours of the tokens come from each bank layer. */
function bankCounts(layer, tokens) {
  const counts = new Map();
  const found = layer.lenses[LATENT];
  for (const token of found ? tokens : []) {
    for (const entry of found.entry.slice(...span(found, token))) {
      const bank = data.neighbors.bank_layer[entry];
      counts.set(bank, (counts.get(bank) ?? 0) + 1);
    }
  }
  return counts;
}

/** The bank layer that most of a token's neighbours come from; the best neighbour decides a tie. */
function commonBank(found, token) {
  const [first, last] = span(found, token);
  const counts = new Map();
  for (let at = first; at < last; at += 1) {
    const bank = data.neighbors.bank_layer[found.entry[at]];
    counts.set(bank, (counts.get(bank) ?? 0) + 1);
  }
  let best = null;
  for (const [bank, count] of counts) if (best === null || count > counts.get(best)) best = bank;
  return best;
}

// Scripts that put no space between words: there a word is found inside others.
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;

/**
 * Whether an entry has one of the words typed: separated by commas, an asterisk at the end for any ending.
 * With `phrase`, the words of the sentence that the state has read count, too.
 */
function matcher(lens, typed, phrase) {
  const terms = typed
    .split(",")
    .map((term) => folded(term.trim()))
    .filter((term) => term.replace("*", ""));
  if (!terms.length) return null;
  const whole = new Set(terms.filter((term) => !term.endsWith("*")));
  const beginnings = terms.filter((term) => term.endsWith("*")).map((term) => term.slice(0, -1));
  const parts = terms.map((term) => {
    const open = term.endsWith("*");
    const text = (open ? term.slice(0, -1) : term).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return UNSPACED.test(term) ? text : `(?<![\\p{L}\\p{M}\\p{N}])${text}${open ? "" : "(?![\\p{L}\\p{M}\\p{N}])"}`;
  });
  const inside = phrase && isLatent(lens) ? new RegExp(parts.join("|"), "u") : null;
  const known = new Map();
  const decide = (entry) => {
    const word = folded(wordOf(lens, entry)).replace(/^“(.*)”$/u, "$1");
    if (whole.has(word) || beginnings.some((start) => word.startsWith(start))) return true;
    if (!inside) return false;
    const { sentence, seen } = neighbor(entry);
    return inside.test(folded(sentence.slice(0, seen)));
  };
  return (entry) => {
    if (!known.has(entry)) known.set(entry, decide(entry));
    return known.get(entry);
  };
}
