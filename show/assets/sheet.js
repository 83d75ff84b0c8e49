// The images that a search has found, with the patches that answer it.

/** For browsers without Uint8Array.fromBase64. */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

const stream = new Blob([bytesOf(byId("data").textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
const data = JSON.parse(await new Response(stream).text());
const LENSES = { words: "LatentLens", logit: "LogitLens", embedding: "EmbeddingLens" };

byId("headline").textContent = data.headline;
byId("command").textContent = [data.command, data.tool].filter(Boolean).join(" · ");

const layers = [...new Set(data.images.flatMap((image) => image.patches.map((patch) => patch.layer)))].sort((a, b) => a - b);
byId("layer").append(el("option", { value: "", text: "all" }), ...layers.map((layer) => el("option", { value: layer, text: layer })));
byId("layer").addEventListener("change", draw);

function draw() {
  const layer = byId("layer").value;
  const shown = data.images
    .map((image) => ({ image, patches: image.patches.filter((patch) => !layer || patch.layer === Number(layer)) }))
    .filter((one) => one.patches.length);
  byId("sheet").replaceChildren(...shown.map(figure));
}

function figure({ image, patches }) {
  const [width, height] = image.size;
  const boxes = patches.map((patch, at) => box(image, patch, at === 0)).reverse(); // the best lies on top
  const best = patches[0];
  return el(
    "figure",
    {},
    svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": image.name },
      image.source && svg("image", { href: image.source, width, height, preserveAspectRatio: "none" }),
      ...boxes,
    ),
    el(
      "figcaption",
      {},
      foreign(image.name, { class: "name" }),
      el("br"),
      el("b", {}, foreign(wordsOf(best).slice(0, 3).join(", ") || "(no word)")),
      el("small", { text: ` ${scored(best)} layer ${best.layer} · ${counted(image.count, "patch", "patches")}` }),
      !image.source && el("small", { text: " · the file is no longer there" }),
    ),
  );
}

function box(image, patch, isBest) {
  const [x0, y0, x1, y1] = patch.box;
  const open = () => read(image, patch);
  return svg(
    "rect",
    {
      x: x0,
      y: y0,
      width: x1 - x0,
      height: y1 - y0,
      class: isBest && "best",
      tabindex: 0,
      role: "button",
      "aria-label": `${wordsOf(patch).slice(0, 3).join(", ")}, layer ${patch.layer}`,
      onclick: open,
      onkeydown: (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), open()),
    },
  );
}

const wordsOf = (patch) => [patch.words, patch.logit, patch.embedding].find((words) => words.length) ?? [];
const signed = (gap) => `${gap < 0 ? "−" : "+"}${Math.abs(gap).toFixed(2)}`;
const scored = (patch) => (patch.score === null ? "" : `${patch.score.toFixed(3)} · `);

function read(image, patch) {
  const [view, row, col] = patch.place;
  byId("patch-name").replaceChildren(foreign(image.name), ` · patch ${row},${col}`);
  const facts = [`layer ${patch.layer}`, view && `view ${view}`, `norm ${patch.norm.toFixed(1)}`];
  if (patch.things.length) facts.push(`annotated: ${patch.things.join(", ")}`);
  byId("patch-facts").textContent = facts.filter(Boolean).join(" · ");
  const parts = [];
  for (const [lens, title] of Object.entries(LENSES)) {
    if (!patch[lens].length) continue;
    const rows = patch[lens].map((word, at) =>
      el(
        "tr",
        {},
        el("td", {}, el("b", {}, foreign(word))),
        lens === "words" && el("td", { class: "number", text: patch.scores[at].toFixed(3) }),
        lens === "words" && patch.gaps.length && el("td", { class: "number", text: signed(patch.gaps[at]) }),
        lens === "words" && el("td", { class: "number", text: `bank ${patch.banks[at]}` }),
        lens === "words" && el("td", {}, foreign(patch.sentences[at])),
      ),
    );
    parts.push(el("h3", { text: title }), el("table", {}, el("tbody", {}, ...rows)));
  }
  byId("patch-words").replaceChildren(...parts);
  byId("reading").showModal();
}

draw();
