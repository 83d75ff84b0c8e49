// The chosen patch through the layers: for each lens its best word and score, as a line over common columns.

const STEP_FLAT = 58; // px a layer: below this its word stands upright
const STEP_LEAST = 21;
const STEP_MOST = 120;
const STEP_SCORE = 38; // room for a score below each point
const HIGH = { name: 16, words: 20, upright: 62, chart: 46, layers: 20 };

function drawDepth() {
  const one = reading();
  const holder = byId("depth-lines");
  byId("depth").hidden = one.layers.length < 2;
  if (one.layers.length < 2) return;
  const room = Math.max(240, holder.clientWidth || 480);
  holder.replaceChildren(depthDrawing(one, room));
}

/** The best entry at each layer: {word, value}, null where a lens says nothing. */
function depthPoints(one, lens) {
  return one.layers.map((layer) => {
    const found = layer.lenses[lens];
    const at = bestOf(found, state.token);
    return at < 0 ? null : { word: wordOf(lens, found.entry[at]), value: strength(found, at), isProbability: Boolean(found.probability) };
  });
}

function depthDrawing(one, room) {
  const lenses = lensesOf(one);
  const count = one.layers.length;
  const step = Math.min(STEP_MOST, Math.max(STEP_LEAST, room / count));
  const upright = step < STEP_FLAT;
  const nameHigh = HIGH.name;
  const wordHigh = upright ? HIGH.upright : HIGH.words;
  const stripHigh = nameHigh + wordHigh + HIGH.chart;
  const width = Math.floor(step * count);
  const height = stripHigh * lenses.length + HIGH.layers;
  const x = (at) => step * (at + 0.5);
  const strips = lenses.map((lens) => ({ lens, points: depthPoints(one, lens) }));
  const drawing = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`, // so that paper can make it smaller
    "font-family": FONT,
    role: "group",
    "aria-label": "Best word at each layer",
  });
  drawing.append(...one.layers.map((_, at) => depthStop(one, strips, at, { step, height, x: x(at) })));
  strips.forEach(({ lens, points }, number) => {
    const top = number * stripHigh;
    const drawn = depthStrip(points, { x, top: top + nameHigh, wordHigh, step, upright });
    drawn.prepend(
      svg("text", {
        x: 0,
        y: top + 12,
        "font-size": 12,
        fill: "var(--quiet)",
        text: `${lensTitle(lens)}, ${LENSES[lens]?.score ?? "score"}`,
      }),
    );
    drawing.append(drawn);
  });
  return drawing;
}

/** One lens: its words, and its scores as a line from 0 (or the least, if that is negative) to the highest. */
function depthStrip(points, { x, top, wordHigh, step, upright }) {
  const values = points.filter(Boolean).map((each) => each.value);
  const [low, high] = [Math.min(0, ...values), Math.max(...values, 0.0001)];
  const y = (value) => top + wordHigh + HIGH.chart - 19 - ((value - low) / (high - low)) * (HIGH.chart - 26);
  const at = (point_, number) => (point_ ? `${tidy(x(number))},${tidy(y(point_.value))}` : null);
  const strip = svg(
    "g",
    { "pointer-events": "none", "aria-hidden": "true" },
    svg("polyline", {
      points: points.map(at).filter(Boolean).join(" "),
      fill: "none",
      stroke: "var(--bar)",
      "stroke-width": 2,
    }),
  );
  points.forEach((point_, number) => {
    if (!point_) return;
    const here = number === state.layer;
    const look = here ? { r: 5.5, fill: "var(--accent)" } : { r: 4, fill: "var(--quiet)" };
    strip.append(svg("circle", { cx: tidy(x(number)), cy: tidy(y(point_.value)), ...look }));
    if (step >= STEP_SCORE || here) strip.append(depthScore(point_, x(number), y(point_.value) + 17, here));
    strip.append(depthWord(point_.word, x(number), { step, top, wordHigh, upright, here }));
  });
  return strip;
}

function depthScore({ value, isProbability }, x, y, here) {
  const look = { "font-size": 11, "text-anchor": "middle", fill: here ? "var(--accent)" : "var(--quiet)" };
  return svg("text", { x: tidy(x), y: tidy(y), ...look, text: shownScore(value, isProbability) });
}

function depthWord(word, x, { step, top, wordHigh, upright, here }) {
  const look = { "font-weight": here ? 700 : 500, fill: here ? "var(--accent)" : "var(--ink)" };
  if (!upright) {
    const text = cutToWidth(word, 14, step - 4, 700);
    return svg("text", { x: tidy(x), y: top + 15, "text-anchor": "middle", "font-size": 14, ...look, text });
  }
  const turn = `translate(${tidy(x + 4)} ${top + wordHigh - 2}) rotate(-90)`;
  return svg("text", { transform: turn, "font-size": 13, ...look, text: cutToWidth(word, 13, wordHigh - 6, 700) });
}

/** One layer: a column to click, over all lenses, and its number. */
function depthStop(one, strips, at, { step, height, x }) {
  const layer = one.layers[at].layer;
  const here = at === state.layer;
  const said = strips.map(({ lens, points }) => {
    const words = points[at] ? `${points[at].word} ${shownScore(points[at].value, points[at].isProbability)}` : "nothing";
    return strips.length > 1 ? `${lensTitle(lens)} ${words}` : words;
  });
  const name = `Layer ${layer}: ${said.join(", ")}`;
  const choose = () => {
    change({ layer: at });
    speakSoon();
  };
  const number = {
    x: tidy(x),
    y: height - 5,
    "text-anchor": "middle",
    "font-size": 12,
    fill: here ? "var(--accent)" : "var(--quiet)",
  };
  return svg(
    "g",
    {
      class: "stop",
      tabindex: here ? 0 : -1,
      role: "button",
      "aria-label": name,
      "aria-current": here ? "true" : null,
      "data-layer": layer,
      onclick: choose,
      onkeydown: (event) => moveDepth(event, choose),
    },
    svg("title", { text: name }),
    svg("rect", {
      x: tidy(x - step / 2),
      y: 0,
      width: tidy(step),
      height,
      rx: 6,
      fill: here ? "var(--accent-soft)" : "transparent",
    }),
    svg("text", { ...number, "font-weight": here ? 700 : 400, text: layer }),
  );
}

/** On the line itself, left and right go from layer to layer. */
function moveDepth(event, choose) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) stepLayer(step);
  else if (event.key === "Enter" || event.key === " ") choose();
  else return;
  event.preventDefault();
  event.stopPropagation();
  drawNow();
  byId("depth-lines").querySelector("[aria-current]")?.focus();
}

function readDepth() {
  watch(["reading", "layer", "token", "large"], drawDepth);
  let width = 0;
  const fit = () => {
    const now = byId("depth-lines").clientWidth;
    if (now === width) return;
    width = now;
    drawDepth();
  };
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(byId("panel"));
}
