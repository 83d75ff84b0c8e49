// All patches as SVG: the same drawing on the screen and in a saved figure.

const SMALLEST = 7; // px: smaller words cannot be read
const LARGEST = 15;
const WORD_OF_TEXT = { light: "#a3225a", dark: "#ff8fb8" }; // what a token is near to, below the token itself
const VEIL = { plain: 0, words: 0.56, find: 0.5 };

/** What is drawn of the state. */
function viewOptions() {
  const { lens, colour, find, phrase, scale, words } = state;
  return { lens, colour, find, phrase, scale, words };
}

/**
 * The drawing's size and what is where in it: {width, height, cells, panes, labels, marks}.
 * Images take `imageWide` of the width, chips under them all of it.
 */
function geometryFor(one, group, wide, imageWide = wide) {
  if (one.kind !== "image") return textGeometry(one, wide);
  const { panes, height } = placeImages(one, group, imageWide, columnsIn(one, wide));
  const titles = panes.filter((pane) => pane.title).map(({ image, x, y, w }) => {
    const text = `${image + 1}: ${one.images[image].source}`;
    return { x, y: y - 6, text, width: w };
  }); // prettier-ignore
  const chips = chipGeometry(one, wide, height + UNDER_IMAGE);
  return {
    width: chips.cells.length ? wide : imageWide,
    height: chips.cells.length ? chips.bottom : height,
    imagesHeight: height,
    cells: [...imageCells(one, group, panes), ...chips.cells],
    panes,
    labels: [...titles, ...chips.labels],
    marks: chips.marks,
    room: { wide, imageWide },
  };
}

/** Everything but the marks of the chosen patch, as a `<g>`. */
function paintView(one, layer, options, geometry, theme) {
  const colours = colouring(one, layer, options);
  const back = svg("g", { class: "back" }, ...paintImages(one, options, geometry, theme));
  const cells = svg("g", { class: "cells" });
  const words = svg("g", { class: "words" });
  const patchFrame =
    options.colour === "find" && options.find.trim()
      ? { stroke: rgb(INK[theme]), "stroke-opacity": 0.4 }
      : { stroke: "#808080", "stroke-opacity": 0.55 };
  for (const cell of geometry.cells) {
    const colour = colours.of(cell.token);
    cells.append(
      svg("rect", {
        "data-token": cell.token,
        "data-kind": cell.kind,
        ...box(cell),
        rx: cell.kind ? 6 : null,
        fill: colour ? rgb(colour.fill) : rgb(PAPER[theme]),
        "fill-opacity": colour ? colour.opacity : cell.kind ? 1 : 0,
        ...(cell.kind ? chipFrame(cell.kind, theme) : patchFrame),
      }),
    );
    const ink = colour && colour.opacity > 0.6 ? inkOn(colour.fill) : rgb(INK[theme]);
    const halo = rgb(colour ? mixed(PAPER[theme], colour.fill, colour.opacity) : PAPER[theme]);
    if (cell.kind) words.append(paintToken(cell, ink));
    const wordInk = cell.kind && !colour ? WORD_OF_TEXT[theme] : ink;
    if (options.words) words.append(...paintWord(layer, options, cell, wordInk, halo));
  }
  const labels = svg("g", { class: "labels" }, ...paintLabels(geometry, theme));
  return { group: svg("g", {}, back, cells, ...paintSeams(one, geometry, theme), labels, words), legend: colours.legend };
}

/** The borders of views that are shown together on one image. */
function paintSeams(one, { panes }, theme) {
  const line = {
    fill: "none",
    stroke: rgb(INK[theme]),
    "stroke-opacity": 0.7,
    "stroke-width": 2,
    "pointer-events": "none",
  };
  return panes.filter(({ views }) => views.length > 1).flatMap(({ views, x, y, scale }) =>
    one.views.filter((view) => views.includes(view.index)).map(({ box: { x0, y0, x1, y1 } }) =>
      svg("rect", { ...box({ x: x + x0 * scale, y: y + y0 * scale, w: (x1 - x0) * scale, h: (y1 - y0) * scale }), ...line }),
    ),
  ); // prettier-ignore
}

function box({ x, y, w, h }) {
  return { x: tidy(x), y: tidy(y), width: tidy(w), height: tidy(h) };
}

const tidy = (number) => Math.round(number * 100) / 100;

function paintImages(one, { colour, find, words }, { panes }, theme) {
  const finding = colour === "find" && find.trim();
  const grey = colour === "score" || colour === "gap" || colour === "bank" || finding;
  const parts = [];
  if (grey && panes.length) {
    parts.push(svg("filter", { id: "grey" }, svg("feColorMatrix", { type: "saturate", values: "0" })));
  }
  const veil = finding ? VEIL.find : words && !grey ? VEIL.words : VEIL.plain;
  for (const pane of panes) {
    const place = box(pane);
    const look = { preserveAspectRatio: "none", filter: grey ? "url(#grey)" : null };
    parts.push(svg("image", { href: pictureOf(one, pane.image), ...look, ...place }));
    if (veil) parts.push(svg("rect", { fill: rgb(PAPER[theme]), "fill-opacity": veil, ...place }));
  }
  return parts;
}

function paintWord(layer, options, cell, ink, halo) {
  const found = layer.lenses[options.lens];
  const at = bestOf(found, cell.token);
  const word = at < 0 ? "·" : wordOf(options.lens, found.entry[at]);
  const room = cell.w - (cell.kind ? 6 : Math.min(4, cell.w * 0.08));
  // One size for all words: a short one does not seem to say more than a long one.
  const size = Math.min(cell.size?.word ?? Math.min(LARGEST, Math.max(SMALLEST, cell.w * 0.165)), cell.h * 0.46);
  if (size < SMALLEST || room < SMALLEST) return [];
  const middle = cell.y + (cell.size?.wordAt ?? cell.h / 2);
  return [
    svg("text", {
      x: tidy(cell.x + cell.w / 2),
      y: tidy(middle + size * 0.35),
      "text-anchor": "middle",
      "font-size": tidy(size),
      "font-weight": 550,
      fill: ink,
      stroke: halo,
      "stroke-width": halo ? tidy(size / 6) : null,
      "stroke-linejoin": halo ? "round" : null,
      "paint-order": halo ? "stroke" : null,
      text: cutToWidth(word, size, room, 550),
    }),
  ];
}

/** The frame of a patch, visible on any image and any colour: a dark line between two light ones. */
function paintFrame(cell, width = 3) {
  const line = (stroke, wide) =>
    svg("rect", { ...box(cell), fill: "none", stroke, "stroke-width": wide, "pointer-events": "none" });
  return [line("#ffffff", width + 3), line("#16150f", width)];
}

/** The legend of a colouring as SVG, `width` pixels wide at most: {group, height}. */
function paintLegend(one, legend, ink) {
  const parts = [];
  const label = (x, text, anchor = "start") =>
    svg("text", { x: tidy(x), y: 13, "font-size": 13, fill: ink, "text-anchor": anchor, text });
  let x = 0;
  const put = (text) => {
    parts.push(label(x, text));
    x += (textWidth(text, 400) * 13) / 100 + 8;
  };
  if (legend.kind === "ramp") {
    put(legend.title);
    put(rampEnd(legend, legend.low));
    for (let step = 0; step < 32; step += 1) {
      parts.push(svg("rect", { x: tidy(x + step * 4), y: 2, width: 4.5, height: 13, fill: rgb(viridis(step / 31)) }));
    }
    x += 136;
    put(rampEnd(legend, legend.high));
  } else if (legend.kind === "banks") {
    put("bank layer");
    for (const bank of legend.layers) {
      parts.push(svg("rect", { x: tidy(x), y: 2, width: 13, height: 13, rx: 3, fill: rgb(bankColour(one, bank)) }));
      x += 17;
      put(String(bank));
    }
  } else if (legend.kind === "found") {
    for (const count of [1, legend.most]) {
      const opacity = 0.3 + 0.6 * (count / legend.most);
      parts.push(
        svg("rect", { x: tidy(x), y: 2, width: 13, height: 13, rx: 3, fill: rgb(FOUND), "fill-opacity": opacity }),
      );
      x += 17;
      put(`${count} of ${legend.most}`);
      if (legend.most === 1) break;
    }
  }
  return { group: svg("g", {}, ...parts), width: x, height: 18 };
}

function percent(share) {
  const shown = 100 * share;
  return shown >= 0.1 || shown === 0 ? `${shown.toFixed(shown < 9.95 ? 1 : 0)} %` : "<0.1 %";
}

/** The end of a ramp in words. */
function rampEnd(legend, value) {
  return legend.shown ? legend.shown(value) : shownScore(value, legend.isProbability);
}

/** A cosine, or the end of a range of them, as a person reads it; a probability in percent. */
function shownScore(value, isProbability = false) {
  if (isProbability) return percent(value);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}
