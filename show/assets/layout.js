// Where the patches are: which views are shown together, and where each image lies in the drawing.

const groupsKnown = new Map();

/**
 * The views that are shown together: [{name, panes: [{image, views}]}], a pane for each image. Tiles that do not overlap
 * make one picture; a thumbnail or a frame is a picture of its own. A text has one group without panes.
 */
function groupsOf(one) {
  if (!groupsKnown.has(one)) groupsKnown.set(one, makeGroups(one));
  return groupsKnown.get(one);
}

function makeGroups(one) {
  if (one.kind !== "image") return [{ name: "Text", panes: [] }];
  const each = one.images.map((_, image) => groupsOfImage(one, image));
  const most = Math.max(1, ...each.map((groups) => groups.length));
  return Array.from({ length: most }, (_, number) => {
    // An image of fewer views than others stays at its last one.
    const chosen = each.map((groups) => groups[Math.min(number, groups.length - 1)]);
    const names = new Set(chosen.map(({ name }) => name));
    return { name: [...names].join(", "), panes: chosen.map(({ views }, image) => ({ image, views })) };
  });
}

function groupsOfImage(one, image) {
  const own = one.views.filter((view) => view.image === image);
  const tiles = own.filter((view) => view.kind === "tile");
  const joined = tiles.length > 1 && !tiles.some((a, at) => tiles.slice(at + 1).some((b) => overlap(a.box, b.box)));
  const groups = joined ? [{ name: `${tiles.length} tiles`, views: tiles.map((view) => view.index) }] : [];
  const singles = own.filter((view) => !(joined && view.kind === "tile"));
  const name = (view) =>
    view.kind === "image" ? "Image" : `${view.kind[0]?.toUpperCase()}${view.kind.slice(1)} ${view.index}`;
  groups.push(...singles.map((view) => ({ name: name(view), views: [view.index] })));
  return groups.length ? groups : [{ name: "Image", views: [] }];
}

function overlap(a, b) {
  const slack = 0.5; // half a pixel is rounding
  return a.x0 < b.x1 - slack && b.x0 < a.x1 - slack && a.y0 < b.y1 - slack && b.y0 < a.y1 - slack;
}

const inGroups = new Map();

/** Numbers of the patches of a group, or of all tokens of a text. */
function tokensOf(one, group) {
  const key = `${data.readings.indexOf(one)} ${group}`;
  if (!inGroups.has(key)) {
    const views = groupsOf(one)[group]?.panes.flatMap((pane) => pane.views) ?? [];
    const all = Array.from(one.tokens.index.keys());
    inGroups.set(key, one.kind === "image" ? all.filter((token) => views.includes(one.tokens.view[token])) : all);
  }
  return inGroups.get(key);
}

/** The group that a token is in. */
function groupOf(one, token) {
  const view = one.tokens.view[token];
  return Math.max(
    0,
    groupsOf(one).findIndex(({ panes }) => panes.some((pane) => pane.views.includes(view))),
  );
}

/** What a view is called before its size: nothing for the only one; as in the names of patches, images are counted from 1. */
function viewName(one, view) {
  const image = one.images.length > 1 ? `image ${view.image + 1}` : "";
  if (view.kind === "image") return image && `${image}: `;
  return `${view.kind} ${view.index}${image && ` of ${image}`}: `;
}

/** `Row 2, column 3`, with the view and the image where there are several. */
function placeName(one, token) {
  const { row, col, view, image } = one.tokens;
  let place = `Row ${row[token]}, column ${col[token]}`;
  const own = one.views.filter((each) => each.image === image[token]);
  if (own.length > 1) place += ` of ${own.find((each) => each.index === view[token])?.kind ?? "view"} ${view[token]}`;
  return one.images.length > 1 ? `${place} of image ${image[token] + 1}` : place;
}

const BETWEEN = 12; // px between images of one prompt
const TITLE = 20; // px for an image's name, where there are several
const LEAST_IMAGE = 220; // px: narrower images stand below each other
const TALLEST = 1.5; // times its width that one of several images may be high

/** How many images stand beside each other in a column of the page. */
function columnsIn(one, wide) {
  return Math.max(1, Math.min(one.images.length, 4, Math.floor((wide + BETWEEN) / (LEAST_IMAGE + BETWEEN))));
}

/** Where the images of a group lie within a width: {panes: [{image, views, x, y, w, h, scale, title}], height}. */
function placeImages(one, group, width, columns) {
  const { panes } = groupsOf(one)[group];
  const several = panes.length > 1;
  const room = (width - BETWEEN * (columns - 1)) / columns;
  const title = several ? TITLE : 0;
  const placed = [];
  let y = 0;
  for (let at = 0; at < panes.length; at += columns) {
    const row = panes.slice(at, at + columns).map((pane, column) => {
      const { width: wide, height: high } = one.images[pane.image];
      const scale = several ? Math.min(room / wide, (TALLEST * room) / high) : room / wide;
      return { ...pane, x: column * (room + BETWEEN), y: y + title, w: wide * scale, h: high * scale, scale, title };
    });
    placed.push(...row);
    y = Math.max(...row.map((pane) => pane.y + pane.h)) + BETWEEN;
  }
  return { panes: placed, height: Math.max(0, y - BETWEEN) };
}

/** Cells of the patches on their images: [{token, x, y, w, h}] in pixels of the drawing. */
function imageCells(one, group, panes) {
  return tokensOf(one, group).map((token) => {
    const { x, y, scale } = panes.find((pane) => pane.image === one.tokens.image[token]);
    const [x0, y0, x1, y1] = one.tokens.box[token];
    return { token, x: x + x0 * scale, y: y + y0 * scale, w: (x1 - x0) * scale, h: (y1 - y0) * scale };
  });
}

/** The nearest token from here in a direction: of those beside this one, the closest. */
function neighborTo(cells, token, dx, dy) {
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
  return best === token && dy ? overTheEdge(cells, here, dy) : best;
}

/** The nearest line of tokens above or below, or from there the nearest patch: none of them need lie right there. */
function overTheEdge(cells, here, dy) {
  const middle = (cell) => [cell.x + cell.w / 2, cell.y + cell.h / 2];
  const [x, y] = middle(here);
  const far = (cell) => (middle(cell)[1] - y) * dy + Math.abs(middle(cell)[0] - x) / 1e4;
  const there = cells.filter((cell) => (cell.kind || here.kind) && (middle(cell)[1] - y) * dy > 0.5);
  return there.reduce((best, cell) => (best && far(best) <= far(cell) ? best : cell), null)?.token ?? here.token;
}
