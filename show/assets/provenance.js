// What produced the page, in words and as text to copy.

function searchText({ exact, recall, recall_states: states, top_k: k }) {
  if (exact) return `exact: every row compared; top ${k}`;
  if (recall === null) return `approximate, recall not measured; top ${k}`;
  const sample = states ? counted(states, "state") : "a sample";
  return `approximate, recall@${k} ${recall.toFixed(3)} against exact search on ${sample}; top ${k}`;
}

/** What of a bank was compared: everything, or what its index proposed. */
function scopeText(search) {
  if (!search) return null;
  const way = { product: " by a matrix product", engine: " by the database" }[search.exact ? search.way : null] ?? "";
  const copy = search.local_copy;
  const where = copy ? ` over a local copy of ${copy.of} made at ${copy.made.replace("T", " ").replace("+00:00", " UTC")}` : "";
  const rows = `${search.exact ? "all" : "approximately"} ${counted(search.rows, "row")} compared${way}${where}`;
  return search.recall === null ? rows : `${rows}, recall ${search.recall.toFixed(3)}`;
}

function centringText({ source, images }) {
  if (source === "text") return "the bank's text mean subtracted";
  return `the mean of ${counted(images, source === "folder" ? "other image" : "image")} subtracted`;
}

/** The line under the title: enough to know what one is looking at. */
function headFacts(one) {
  const facts = [];
  if (one.kind === "image") {
    facts.push(one.images.length > 1 ? counted(one.images.length, "image") : `${one.images[0].width} × ${one.images[0].height} px`);
    const grids = [...new Set(one.views.map((view) => `${view.rows} × ${view.cols}`))];
    const plain = one.views.length === one.images.length && grids.length <= 2;
    facts.push(plain ? `${grids.join(" and ")} patches` : `${one.views.length} views`);
    if (chipsOf(one).length) facts.push(counted(chipsOf(one).length, "token"));
  } else {
    facts.push(counted(one.tokens.index.length, "token"));
  }
  facts.push(`model ${one.model.id}`);
  const { exact, recall } = one.search;
  if (!exact) facts.push(recall === null ? "approximate search" : `approximate search, recall ${recall.toFixed(3)}`);
  return facts;
}

/** Everything that decided the answer: [[name, value, whether it is code]]. */
function provenanceOf(one) {
  const { model, search } = one;
  const facts = [];
  const add = (name, value, code = false) => {
    if (value !== null && value !== undefined && value !== "") facts.push([name, String(value), code]);
  };
  if (one.kind === "image") {
    one.images.forEach(({ source, sha256, width, height }, image) => {
      const number = one.images.length > 1 ? ` ${image + 1}` : "";
      add(`Image${number}`, `${source}, ${width} × ${height} px`);
      add(`SHA-256${number && ` of image${number}`}`, sha256, true);
    });
    add("Patches", one.views.map((view) => viewName(one, view) + `${view.rows} × ${view.cols}`).join("; "));
  } else {
    add("Text", one.source);
    add("SHA-256", one.sha256, true);
  }
  add("Model", model.id);
  add("Revision", model.revision ?? "none: read from a directory");
  add("Weights", model.weights, true);
  add("Tokenizer", model.tokenizer, true);
  add("Computed in", [model.dtype, model.device].filter(Boolean).join(" on "));
  add("Classes", [model.class, model.language_model].filter(Boolean).join(" with "));
  if (model.n_layers)
    add(
      "Layers",
      `${model.n_layers} blocks of ${model.dim} dimensions; 0 is the input embedding, k the output of block k, before the final norm`,
    );
  add("Prompt", one.prompt, true);
  if (one.answer !== null) add(one.answer_given ? "Answer, as it was given" : "Answer, the model's own", one.answer, true);
  if (one.kind === "image") add("Positions", one.read.join(", "));
  add("Lenses", search.lenses.map(lensTitle).join(", "));
  add("Search", searchText(search));
  if (search.centring) add("States", centringText(search.centring));
  add("Filters", search.where.join(" and "));
  add("Distinct", search.distinct);
  add("Patches asked for", search.patches.map((patch) => patch.join(",")).join("  "));
  const searches = new Map((search.banks ?? []).map((bank) => [bank.name, bank]));
  for (const bank of one.banks)
    add(`Bank, layer ${bank.layer}`, [bankText(bank), scopeText(searches.get(bank.name))].filter(Boolean).join("; "));
  const libraries = Object.entries(model.libraries ?? {}).map(([name, version]) => `${name} ${version}`);
  add("Made with", [one.tool, ...libraries].join(", "));
  for (const note of one.notes) add("Note", note);
  return facts;
}

function bankText(bank) {
  const corpora = (bank.corpora ?? []).map((corpus) => `${corpus.name} (${counted(corpus.sentences, "sentence")})`);
  const facts = [bank.name, bank.rows === undefined ? null : counted(bank.rows, "row"), corpora.join(", ")];
  if (bank.compute_dtype) facts.push(`computed in ${bank.compute_dtype}, stored as ${bank.vector_dtype}`);
  if (bank.max_contexts !== undefined)
    facts.push(bank.max_contexts === null ? "all contexts" : `at most ${bank.max_contexts} contexts a token`);
  return facts.filter(Boolean).join("; ");
}

function provenanceText(one) {
  const lines = provenanceOf(one).map(([name, value]) => `${name}: ${value}`);
  if (data.command) lines.push(`Command: ${data.command}`);
  return `${lines.join("\n")}\n`;
}

function drawProvenance() {
  const one = reading();
  const items = provenanceOf(one).flatMap(([name, value, code]) => [
    el("dt", { text: name }),
    el("dd", { class: code ? "code" : "", dir: "auto", text: value }),
  ]);
  byId("facts-list").replaceChildren(...items);
  byId("command-line").hidden = !data.command;
  byId("command").textContent = data.command;
}

function drawHead() {
  const one = reading();
  byId("source").textContent = sourceOf(one);
  byId("facts").textContent = headFacts(one).join(" · ");
  const notes = byId("notes");
  notes.replaceChildren(...one.notes.map((note) => el("li", { dir: "auto", text: note })));
  notes.hidden = !one.notes.length;
  markStrip();
}

function markStrip() {
  for (const button of byId("readings").children) {
    const here = Number(button.dataset.reading) === state.reading;
    if (here) {
      button.setAttribute("aria-current", "true");
      button.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else button.removeAttribute("aria-current");
  }
}

/** A strip of all images and texts, where there are several. */
function makeStrip() {
  const strip = byId("readings");
  strip.hidden = data.readings.length < 2;
  if (strip.hidden) return;
  strip.replaceChildren(
    ...data.readings.map((one, number) =>
      el(
        "button",
        {
          type: "button",
          class: pictureOf(one, 0) ? "image" : "text",
          "data-reading": number,
          title: readingName(number),
          onclick: () => showReading(number),
        },
        ...one.images.slice(0, 3).map((_, image) => el("img", { src: pictureOf(one, image), alt: "", decoding: "async" })),
        el("span", { dir: "auto", text: readingName(number) }),
      ),
    ),
  );
  markStrip();
}

/** Whether others can open the page by its address: inside a notebook, or as a data URL, it has none. */
const hasAddress = () => ["http:", "https:", "file:"].includes(location.protocol);

function readProvenance() {
  makeStrip();
  watch(["reading"], drawHead);
  watch(["reading"], drawProvenance);
  byId("copy-provenance").addEventListener("click", () => copyText(provenanceText(reading()), "What produced this"));
  byId("copy-command").addEventListener("click", () => copyText(data.command, "The command"));
  byId("copy-link").addEventListener("click", () => {
    if (hasAddress()) copyText(`${location.href.split("#")[0]}${addressOf()}`, "The link");
    else copyText(addressOf(), "The page has no address here. The part to add to its address where it is shared");
  });
}
