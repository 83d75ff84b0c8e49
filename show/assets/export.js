// Copying as text, and saving the view as a figure: always on white, for paper.

const FIGURE = { width: 640, panel: 560, margin: 20, scale: 3 };

let telling = null;

/** A line at the bottom of the window for a moment. */
function tell(text) {
  const line = byId("told");
  line.textContent = text;
  line.hidden = false;
  clearTimeout(telling);
  telling = setTimeout(() => (line.hidden = true), 2500);
}

async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Older browsers, or files on disk: the way it was done before there was a clipboard interface.
    const area = el("textarea", { class: "spoken" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) {
      tell("The browser did not allow copying.");
      return;
    }
  }
  tell(`${what} copied.`);
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  tell(`${name} saved.`);
}

/** `photo-layer8-2,3`: no character that a file system minds. */
function figureName() {
  const one = reading();
  const stem =
    (one.images[0]?.source ?? one.source)
      .replace(/\.[^.]*$/, "")
      .replace(/[^\p{L}\p{N}_-]+/gu, "-")
      .slice(0, 40) || "view";
  const held = state.locked ? `-${tokenName(one, state.token).replace(/^0:/, "").replace(/[:,]/g, "-")}` : "";
  return `${stem}-layer${layerAt(state.layer).layer}${held}`;
}

/** The view as a figure: the patches as shown, their legend, and what the pinned patch means. */
function figureSvg() {
  const one = reading();
  const layer = layerAt(state.layer);
  const { width, margin } = FIGURE;
  const shown = geometryFor(one, state.group, width);
  const { group, legend } = paintView(one, layer, viewOptions(), shown, "light");
  const ink = rgb(INK.light);
  const caption = captionOf(one, layer);
  const parts = [group];
  let below = shown.height + 24;
  if (legend && legend.kind !== "ask") {
    const painted = paintLegend(one, legend, ink);
    painted.group.setAttribute("transform", `translate(0 ${tidy(below - 12)})`);
    parts.push(painted.group);
    below += 24;
  }
  parts.push(
    svg("text", { x: 0, y: tidy(below), "font-size": 13, fill: "#57544e", text: cutToWidth(caption, 13, width, 400) }),
  );
  let total = width;
  let high = below + 6;
  if (state.locked) {
    const cell = shown.cells.find((each) => each.token === state.token);
    if (cell) parts.push(svg("g", {}, ...paintFrame(cell, 3)));
    const panel = figurePanel(one, layer);
    panel.group.setAttribute("transform", `translate(${width + 2 * margin} 0)`);
    parts.push(panel.group);
    total += 2 * margin + FIGURE.panel;
    high = Math.max(high, panel.height);
  }
  const [w, h] = [total + 2 * margin, Math.ceil(high + 2 * margin)];
  return svg(
    "svg",
    { xmlns: SVG, width: w, height: h, viewBox: `0 0 ${w} ${h}`, "font-family": FONT },
    svg("rect", { width: w, height: h, fill: "#ffffff" }),
    svg("g", { transform: `translate(${margin} ${margin})` }, ...parts),
  );
}

/** What each lens says of the pinned patch. */
function figurePanel(one, layer) {
  const ink = rgb(INK.light);
  const name = one.kind === "image" ? nameOf(one, state.token) : chipText(one, state.token);
  const parts = [
    svg("text", {
      x: 0,
      y: 16,
      "font-size": 18,
      "font-weight": 650,
      fill: ink,
      text: cutToWidth(name, 18, FIGURE.panel),
    }),
  ];
  let y = 46;
  for (const lens of lensesOf(one)) {
    parts.push(svg("text", { x: 0, y, "font-size": 14, "font-weight": 650, fill: "#57544e", text: lensTitle(lens) }));
    y += 10;
    for (const entry of entriesOf(layer, lens, state.token).slice(0, 10)) {
      parts.push(figureEntry(lens, entry, y));
      y += isLatent(lens) ? 44 : 24;
    }
    y += 22;
  }
  return { group: svg("g", {}, ...parts), height: y - 16 };
}

function figureEntry(lens, entry, y) {
  const ink = rgb(INK.light);
  const value = Math.min(1, Math.max(0, entry.probability ?? entry.score));
  const word = cutToWidth(entry.word, 16, 180);
  const parts = [
    svg("text", { x: 0, y: y + 16, "font-size": 16, "font-weight": 600, fill: ink, text: word }),
    svg("rect", { x: 190, y: y + 6, width: 150, height: 9, rx: 4, fill: "#e9e6e0" }),
    svg("rect", { x: 190, y: y + 6, width: tidy(150 * value), height: 9, rx: 4, fill: "#a3225a" }),
    svg("text", { x: 350, y: y + 15, "font-size": 14, fill: ink, text: scoreText(entry) }),
  ];
  if (isLatent(lens)) {
    parts.push(
      svg("text", { x: 410, y: y + 15, "font-size": 14, fill: "#57544e", text: `bank layer ${entry.bankLayer}` }),
    );
    parts.push(figureSentence(entry, y + 35));
  }
  return svg("g", {}, ...parts);
}

/** The sentence on one line, cut around its word. */
function figureSentence({ sentence, start, seen, end }, y) {
  const flat = (text) => text.replace(/\s+/g, " ");
  const [before, mark, after] = [flat(sentence.slice(0, start)), sentence.slice(start, end), flat(sentence.slice(end))];
  const size = 14;
  const width = (text) => (textWidth(text, 400) * size) / 100;
  const room = FIGURE.panel - width(mark) * 1.08;
  const left = Math.max(room * 0.6, room - width(after));
  const kept = cutFromLeft(before, size, left);
  const split = seen - start;
  return svg(
    "text",
    { x: 0, y, "font-size": size, fill: rgb(INK.light), "xml:space": "preserve" },
    svg("tspan", { text: kept }),
    svg("tspan", { "font-weight": 650, fill: "#a3225a", text: mark.slice(0, split) }),
    svg("tspan", { fill: "#716d66", text: mark.slice(split) + cutToWidth(after, size, room - width(kept), 400) }),
  );
}

function cutFromLeft(text, size, width) {
  if ((textWidth(text, 400) * size) / 100 <= width) return text;
  const parts = characters(text.slice(-300));
  while (parts.length && (textWidth(`…${parts.join("")}`, 400) * size) / 100 > width) parts.shift();
  return `…${parts.join("").trimStart()}`;
}

function svgText() {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(figureSvg())}\n`;
}

function saveSvg() {
  saveBlob(new Blob([svgText()], { type: "image/svg+xml" }), `${figureName()}.svg`);
}

async function savePng() {
  const drawing = figureSvg();
  const [width, height] = ["width", "height"].map((side) => Number(drawing.getAttribute(side)));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText())}`;
  try {
    await image.decode();
    const scale = Math.min(FIGURE.scale, 12_000 / Math.max(width, height));
    const canvas = el("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error("too large");
    saveBlob(blob, `${figureName()}.png`);
  } catch {
    tell("This browser could not draw the PNG; save the SVG instead.");
  }
}

function readExport() {
  byId("save-png").addEventListener("click", savePng);
  byId("save-svg").addEventListener("click", saveSvg);
}
