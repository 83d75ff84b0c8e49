// A contact sheet of several images: where a word is in each of them, at the layer that is shown.

const THUMB = 176; // px, the longer side

/** All images of all readings: [{one, number, image}]. */
function galleryImages() {
  return data.readings.flatMap((one, number) => one.images.map((_, image) => ({ one, number, image })));
}

/** What the word is in one image: {number, hits: [{token, share, score}], best}. */
function galleryEntry({ one, number, image }, typed, phrase) {
  const lens = lensesOf(one).includes(state.lens) ? state.lens : lensesOf(one)[0];
  const layer = one.layers[nearestLayer(one, layerAt(state.layer).layer)];
  const found = layer.lenses[lens];
  const matches = matcher(lens, typed, phrase);
  const hits = [];
  const patches = Array.from(one.tokens.index.keys()).filter((token) => one.tokens.image[token] === image);
  for (const token of matches ? patches : []) {
    const [first, last] = span(found, token);
    const at = [];
    for (let each = first; each < last; each += 1) if (matches(found.entry[each])) at.push(each);
    if (at.length) hits.push({ token, share: at.length / one.search.top_k, score: strength(found, at[0]), gap: gapAt(found, at[0]) });
  }
  const worth = ({ score, gap }) => (Number.isNaN(gap) ? score : gap);
  const best = hits.reduce((most, hit) => (most === null || worth(hit) > worth(most) ? hit : most), null);
  return { number, one, image, layer, hits, best, share: hits.length / (patches.length || 1), worth: best ? worth(best) : -Infinity };
}

/** An image's name, and what tells its reading from others of the same. */
const imageName = ({ one, number, image }) =>
  one.images.length > 1 ? `${one.images[image].source} (image ${image + 1})` : readingName(number);

const GALLERY_ORDERS = {
  given: () => 0,
  patches: (a, b) => b.share - a.share,
  best: (a, b) => (b.worth > a.worth ? 1 : b.worth < a.worth ? -1 : 0),
  name: (a, b) => imageName(a).localeCompare(imageName(b), "en", { numeric: true }),
};

function drawGallery() {
  if (byId("gallery").hidden || !byId("gallery").open) return;
  const entries = galleryImages().map((each) => galleryEntry(each, state.find, state.phrase));
  entries.sort(GALLERY_ORDERS[state.sort]);
  if (byId("gallery-find") !== document.activeElement) byId("gallery-find").value = state.find;
  byId("gallery-sort").value = state.sort;
  const with_ = entries.filter((entry) => entry.hits.length).length;
  byId("gallery-count").textContent = state.find.trim()
    ? `in ${with_} of ${counted(entries.length, "image")}, layer ${layerAt(state.layer).layer}, ${lensTitle(state.lens)}`
    : `${counted(entries.length, "image")}; type a word to see where it is`;
  byId("gallery-images").replaceChildren(...entries.map(galleryItem));
}

function galleryItem(entry) {
  const { number, one, image, layer, hits, best } = entry;
  const { width, height } = one.images[image];
  const scale = THUMB / Math.max(width, height);
  const places = hits.map(({ token, share }) => {
    const [x0, y0, x1, y1] = one.tokens.box[token];
    const look = { fill: rgb(FOUND), "fill-opacity": 0.35 + 0.5 * Math.min(1, share), stroke: "#ffffff", "stroke-width": 1.5 / scale };
    return svg("rect", { ...box({ x: x0, y: y0, w: x1 - x0, h: y1 - y0 }), ...look, "data-token": token });
  });
  const picture = svg("image", { href: pictureOf(one, image), width, height, preserveAspectRatio: "none" });
  const size = { width: tidy(width * scale), height: tidy(height * scale), viewBox: `0 0 ${width} ${height}` };
  const name = imageName(entry);
  const told = best ? `${counted(hits.length, "patch", "patches")}, best ${tidy(best.score).toFixed(2)}` : state.find.trim() ? "nowhere" : "";
  const go = (event) => {
    const token = tokenAt(event) ?? best?.token ?? null;
    openFromGallery(number, one, layer, token);
  };
  return el(
    "button",
    { type: "button", class: best || !state.find.trim() ? "" : "without", "data-reading": number, "aria-label": [name, told].filter(Boolean).join(", "), onclick: go },
    svg("svg", { ...size, "aria-hidden": "true" }, picture, ...places),
    el("span", { dir: "auto", text: name }),
    el("small", { text: told }),
  );
}

/** The image, at the layer of the sheet, with the patch pinned. */
function openFromGallery(number, one, layer, token) {
  showReading(number);
  change({ layer: one.layers.indexOf(layer), ...(state.find.trim() ? { colour: "find" } : {}) });
  if (token !== null) change({ token, group: groupOf(one, token), locked: true });
  byId("view").scrollIntoView({ block: "start" });
}

function readGallery() {
  byId("gallery").hidden = galleryImages().length < 2;
  byId("gallery").open = state.sheet;
  watch(["lens", "layer", "reading", "find", "phrase", "sort", "sheet"], drawGallery);
  byId("gallery").addEventListener("toggle", () => change({ sheet: byId("gallery").open }));
  byId("gallery-find").addEventListener("input", (event) => change({ find: event.target.value }));
  byId("gallery-sort").addEventListener("change", (event) => change({ sort: event.target.value }));
  byId("gallery-bar").addEventListener("submit", (event) => event.preventDefault());
}
