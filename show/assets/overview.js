// Every layer at a glance: the words most patches have, and which bank layers their neighbours come from.

const FREQUENT = 8;

function drawOverview() {
  const one = reading();
  const banks = lensesOf(one).includes(LATENT) ? one.search.bank_layers : [];
  byId("overview-name").textContent =
    one.kind === "image" ? `${one.images.length > 1 ? "All images" : "The whole image"}, layer by layer` : "The whole text, layer by layer";
  byId("overview-help").textContent =
    `The number after a word: how many of the ${countedTokens(one, mainTokens(one))} have it among their ${lensTitle(state.lens)} words. ` +
    (banks.length ? "The bars: which bank layers the LatentLens neighbours come from (outlined: the query's own layer). " : "");
  byId("overview-help").append(el("span", { class: "screen", text: "Click a layer or a word to see it in the image." }));
  byId("layers").replaceChildren(
    overviewHead(banks),
    el("tbody", {}, ...one.layers.map((layer, at) => overviewRow(one, layer, at, banks))),
  );
}

function overviewHead(banks) {
  const cells = banks.map((bank) => el("th", { class: "bank", scope: "col", text: bank, title: `bank layer ${bank}` }));
  const groups = banks.length
    ? el(
        "tr",
        {},
        el("td"),
        el("th", { class: "bank", colspan: banks.length, scope: "colgroup", text: "neighbours from bank layer" }),
        el("td"),
      )
    : null;
  return el(
    "thead",
    {},
    groups,
    el(
      "tr",
      {},
      el("th", { scope: "col", text: "Query layer" }),
      ...cells,
      el("th", { class: "after", scope: "col", text: "Most frequent words" }),
    ),
  );
}

function overviewRow(one, layer, at, banks) {
  const counts = bankCounts(layer, mainTokens(one));
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const go = el("button", { type: "button", text: `Layer ${layer.layer}`, onclick: () => stepLayer(at - state.layer) });
  const words = topWords(one, layer, state.lens, mainTokens(one)).slice(0, FREQUENT);
  return el(
    "tr",
    { "data-layer": layer.layer },
    el("th", { scope: "row" }, go),
    ...banks.map((bank) => bankCell(one, layer, bank, total ? (counts.get(bank) ?? 0) / total : 0)),
    el("td", { class: "after" }, el("div", { class: "words" }, ...words.map((each) => wordButton(each, at)))),
  );
}

function wordButton({ word, count }, at) {
  const find = () => {
    change({ find: word, colour: "find", layer: at });
    byId("figure").scrollIntoView({ block: "nearest" });
  };
  return el(
    "button",
    { type: "button", title: `Where is “${word}”?`, onclick: find },
    foreign(word),
    " ",
    el("small", { text: count }),
  );
}

/** One bar; an outline where a state is compared with text states of its own layer. */
function bankCell(one, layer, bank, share) {
  const high = 30 * share;
  const percent = `${Math.round(100 * share)} %`;
  return el(
    "td",
    { class: "bank", title: `Layer ${layer.layer}: ${percent} of the neighbours from bank layer ${bank}` },
    el("span", { class: "spoken", text: percent }),
    svg(
      "svg",
      { viewBox: "0 0 30 34", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", {
        x: 1,
        y: 2,
        width: 28,
        height: 30,
        fill: "var(--bar)",
        "fill-opacity": 0.22,
        ...(layer.layer === bank ? { stroke: "var(--quiet)", "vector-effect": "non-scaling-stroke" } : {}),
      }),
      svg("rect", { x: 1, y: tidy(32 - high), width: 28, height: tidy(high), fill: rgb(bankColour(one, bank)) }),
    ),
  );
}

function markOverview() {
  const here = String(layerAt(state.layer).layer);
  for (const row of byId("layers").querySelectorAll("tbody tr")) {
    row.classList.toggle("here", row.dataset.layer === here);
    if (row.dataset.layer === here) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

/** All patches' words as a table: to read with a screen reader, or to copy. */
function drawWordTable() {
  if (!byId("all-words").open) return;
  const one = reading();
  const found = layerAt(state.layer).lenses[state.lens];
  const word = (token) => {
    const at = bestOf(found, token);
    return at < 0 ? "" : wordOf(state.lens, found.entry[at]);
  };
  const caption = el("caption", { text: `${lensTitle(state.lens)}, best word at layer ${layerAt(state.layer).layer}` });
  const shown = groupsOf(one)[state.group].panes.flatMap((pane) => pane.views);
  const views = one.views.filter((view) => shown.includes(view.index) && tokensOf(one, state.group).length);
  const tables = views.map((view) => viewTable(one, view, word));
  const chips = one.kind === "image" ? chipsOf(one) : tokensOf(one, 0);
  if (chips.length) tables.push(chipTable(one, chips, word));
  tables[0]?.prepend(caption);
  byId("word-table").replaceChildren(...tables);
}

function chipTable(one, chips, word) {
  const kinds = one.kind === "image" ? (token) => [el("td", { text: one.tokens.kind[token] })] : () => [];
  const row = (token) =>
    el("tr", {}, el("th", { scope: "row" }, foreign(chipText(one, token))), ...kinds(token), el("td", {}, foreign(word(token))));
  return el("table", {}, el("tbody", {}, ...chips.map(row)));
}

function viewTable(one, view, word) {
  const at = new Map();
  for (const token of tokensOf(one, state.group)) {
    if (one.tokens.view[token] === view.index) at.set(`${one.tokens.row[token]},${one.tokens.col[token]}`, token);
  }
  const numbers = (count) => Array.from({ length: count }, (_, number) => number);
  const head = el("tr", {}, el("td"), ...numbers(view.cols).map((col) => el("th", { scope: "col", text: col })));
  const rows = numbers(view.rows).map((row) => {
    const cells = numbers(view.cols).map((col) => {
      const token = at.get(`${row},${col}`);
      return el("td", {}, token === undefined ? "" : foreign(word(token)));
    });
    return el("tr", {}, el("th", { scope: "row", text: row }), ...cells);
  });
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function readOverview() {
  watch(["reading", "lens"], drawOverview);
  watch(["reading", "lens", "layer"], markOverview);
  watch(["reading", "lens", "layer", "group"], drawWordTable);
  byId("all-words").addEventListener("toggle", drawWordTable);
}
