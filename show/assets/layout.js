// Where the patches are: cells of an image in its own pixels, or of a text in lines.

const groupsKnown = new Map();

/**
 * The views that are shown together: tiles that do not overlap make one picture; a thumbnail or a frame
 * is a picture of its own. A text has one group.
 */
function groupsOf(one) {
  if (!groupsKnown.has(one)) groupsKnown.set(one, makeGroups(one));
  return groupsKnown.get(one);
}

function makeGroups(one) {
  if (one.kind !== "image") return [{ name: "Text", views: null }];
  const tiles = one.views.filter((view) => view.kind === "tile");
  const joined = tiles.length > 1 && !tiles.some((a, at) => tiles.slice(at + 1).some((b) => overlap(a.box, b.box)));
  const groups = joined ? [{ name: `${tiles.length} tiles`, views: tiles.map((view) => view.index) }] : [];
  const singles = one.views.filter((view) => !(joined && view.kind === "tile"));
  const name = (view) =>
    view.kind === "image" ? "Image" : `${view.kind[0]?.toUpperCase()}${view.kind.slice(1)} ${view.index}`;
  return [...groups, ...singles.map((view) => ({ name: name(view), views: [view.index] }))];
}

function overlap(a, b) {
  const slack = 0.5; // half a pixel is rounding
  return a.x0 < b.x1 - slack && b.x0 < a.x1 - slack && a.y0 < b.y1 - slack && b.y0 < a.y1 - slack;
}

const inGroups = new Map();

/** Numbers of the tokens of a group. */
function tokensOf(one, group) {
  const key = `${data.readings.indexOf(one)} ${group}`;
  if (!inGroups.has(key)) {
    const views = groupsOf(one)[group]?.views;
    const all = Array.from(one.tokens.index.keys());
    inGroups.set(key, views ? all.filter((token) => views.includes(one.tokens.view[token])) : all);
  }
  return inGroups.get(key);
}

/** The group that a token is in. */
function groupOf(one, token) {
  const view = one.tokens.view[token];
  return Math.max(
    0,
    groupsOf(one).findIndex((group) => group.views === null || group.views.includes(view)),
  );
}

/** `row 2, column 3`, and the view where there are several; a text token in its own characters. */
function placeName(one, token) {
  const { row, col, view, index } = one.tokens;
  if (row[token] === null) return `Token ${index[token]}`;
  const place = `Row ${row[token]}, column ${col[token]}`;
  if (one.views.length < 2) return place;
  const kind = one.views.find((each) => each.index === view[token])?.kind ?? "view";
  return `${place} of ${kind} ${view[token]}`;
}

/** A token as a person reads it: without the marks that tokenizers put for spaces, and with line ends shown. */
function tokenText(label) {
  const text = label
    .replace(/^[Ġ▁\s]+(?=[^\s])/u, "")
    .replace(/[Ċ\n]/gu, "↵")
    .replace(/[ĉ\t]/gu, "⇥");
  return text.replace(/^[Ġ▁ ]+$/u, "␣") || "·";
}

/** Cells of an image at a scale: [{token, x, y, w, h}] in pixels of the drawing. */
function imageCells(one, group, scale) {
  return tokensOf(one, group).map((token) => {
    const [x0, y0, x1, y1] = one.tokens.box[token];
    return { token, x: x0 * scale, y: y0 * scale, w: (x1 - x0) * scale, h: (y1 - y0) * scale };
  });
}

const LINE = 58;
const GAP = 5;

/** Cells of a text in lines of at most `width` pixels, and the height they take. */
function textCells(one, width) {
  const cells = [];
  const rightToLeft = /^[^\p{L}]*[\p{sc=Hebrew}\p{sc=Arabic}\p{sc=Syriac}\p{sc=Thaana}]/u.test(one.source);
  let x = 0;
  let y = 0;
  for (const token of tokensOf(one, 0)) {
    const text = tokenText(one.tokens.text[token]);
    const w = Math.min(width, Math.max(52, Math.ceil((textWidth(text, 600) * 17) / 100) + 16));
    if (x && x + w > width) [x, y] = [0, y + LINE];
    cells.push({ token, x: rightToLeft ? width - x - w : x, y, w, h: LINE - GAP, text });
    x += w + GAP;
  }
  return { cells, height: cells.length ? y + LINE - GAP : LINE };
}

/** The nearest token from here in a direction: of those beside this one, the closest. */
function neighborTo(one, cells, token, dx, dy) {
  const here = cells.find((cell) => cell.token === token);
  if (!here) return token;
  let best = token;
  let least = Infinity;
  for (const cell of cells) {
    const ahead = dx
      ? (cell.x + cell.w / 2 - here.x - here.w / 2) * dx
      : (cell.y + cell.h / 2 - here.y - here.h / 2) * dy;
    const aside = Math.abs(dx ? cell.y + cell.h / 2 - here.y - here.h / 2 : cell.x + cell.w / 2 - here.x - here.w / 2);
    const reach = dx ? (cell.h + here.h) / 2 : (cell.w + here.w) / 2;
    if (ahead < 0.5 || aside > reach - 0.5) continue;
    const cost = ahead + 2 * aside;
    if (cost < least) [best, least] = [cell.token, cost];
  }
  return best;
}
