// Numbers as colours. Viridis: equal steps look equal, to colour-blind eyes and in grey print, too.

const VIRIDIS = [
  [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
  [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
]; // prettier-ignore
const FOUND = [163, 34, 90];
const PAPER = { light: [255, 255, 255], dark: [26, 28, 31] };
const INK = { light: [28, 27, 25], dark: [239, 238, 235] };

const rgb = (colour) => `rgb(${colour.map(Math.round).join(",")})`;

function mixed(from, to, share) {
  return from.map((value, channel) => value + (to[channel] - value) * share);
}

/** 0 to 1 on the ramp. */
function viridis(share) {
  const at = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return mixed(VIRIDIS[low], VIRIDIS[low + 1], at - low);
}

/** Relative luminance, as the accessibility guidelines define it. */
function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Black or white, whichever can be read better on a colour. */
function inkOn(colour) {
  return luminance(colour) > 0.18 ? "#000000" : "#ffffff";
}

/** Colour of a bank layer: its rank among those searched. */
function bankColour(one, bank) {
  const layers = one.search.bank_layers;
  const rank = layers.indexOf(bank);
  return viridis(layers.length > 1 ? 0.1 + (0.86 * Math.max(rank, 0)) / (layers.length - 1) : 0.5);
}

/** Lowest and highest best score of a lens: at one layer, or over all of them. Of patches, where there are any. */
function scoreRange(one, layer, lens, scale) {
  let low = Infinity;
  let high = -Infinity;
  for (const each of scale === "all" ? one.layers : [layer]) {
    const found = each.lenses[lens];
    for (const token of mainTokens(one)) {
      const at = bestOf(found, token);
      if (at < 0) continue;
      low = Math.min(low, strength(found, at));
      high = Math.max(high, strength(found, at));
    }
  }
  return low <= high ? [low, high] : [0, 0];
}

/**
 * The colour of every token, or null where it has none, and the legend that explains them.
 * A colour is {fill: [r, g, b], opacity}.
 */
function colouring(one, layer, options) {
  const { colour, lens } = options;
  if (colour === "score") return scoreColouring(one, layer, options);
  if (colour === "gap" && layer.lenses[lens].reach) return gapColouring(one, layer, options);
  if (colour === "find") return findColouring(one, layer, options);
  if (colour === "bank" && isLatent(lens)) return bankColouring(one, layer);
  if (colour === "norm") return normColouring(one, layer, options);
  return { of: () => null, legend: null };
}

function scoreColouring(one, layer, { lens, scale }) {
  const found = layer.lenses[lens];
  const [low, high] = scoreRange(one, layer, lens, scale);
  const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  return {
    of: (token) => {
      const at = bestOf(found, token);
      return at < 0 ? null : { fill: viridis(share(strength(found, at))), opacity: 0.85 };
    },
    legend: { kind: "ramp", low, high, title: `best ${LENSES[lens]?.score ?? "score"}`, isProbability: Boolean(found.probability) },
  };
}

/** How far the best words stand above chance; what does not is as dark as nothing. */
function gapColouring(one, layer, { lens, scale }) {
  const gapOf = (each, token) => {
    const found = each.lenses[lens];
    const at = bestOf(found, token);
    return at < 0 ? NaN : gapAt(found, at);
  };
  const of = scale === "all" ? one.layers : [layer];
  const gaps = of.flatMap((each) => mainTokens(one).map((token) => gapOf(each, token))).filter((gap) => !Number.isNaN(gap));
  const high = Math.max(...gaps, 0.01);
  return {
    of: (token) => {
      const gap = gapOf(layer, token);
      return Number.isNaN(gap) ? null : { fill: viridis(gap / high), opacity: 0.85 };
    },
    legend: { kind: "ramp", low: 0, high, title: "above chance", shown: gapText },
  };
}

/** Norms beside the median of their layer, by the logarithm: twice and half are equally far from it. */
function normColouring(one, layer, { scale }) {
  const of = scale === "all" ? one.layers : [layer];
  const ends = of.flatMap((each) => mainTokens(one).map((token) => timesMedian(each, token)).filter((times) => times > 0));
  const low = Math.min(...ends, 1 / 2);
  const high = Math.max(...ends, 2);
  const share = (times) => (times > 0 ? Math.log2(times / low) / Math.log2(high / low) : 0);
  return {
    of: (token) => ({ fill: viridis(share(timesMedian(layer, token))), opacity: 0.85 }),
    legend: { kind: "ramp", low, high, title: "norm beside the layer's median", shown: timesText },
  };
}

function findColouring(one, layer, { lens, find, phrase }) {
  const found = layer.lenses[lens];
  const matches = matcher(lens, find, phrase);
  const most = one.search.top_k;
  if (!matches) return { of: () => null, legend: { kind: "ask" } };
  const tokens = [];
  const shares = found.count.map((_, token) => {
    const [first, last] = span(found, token);
    let count = 0;
    for (let at = first; at < last; at += 1) count += matches(found.entry[at]) ? 1 : 0;
    if (count) tokens.push(token);
    return count / most;
  });
  return {
    of: (token) => (shares[token] ? { fill: FOUND, opacity: 0.3 + 0.6 * Math.min(1, shares[token]) } : null),
    legend: { kind: "found", most, tokens, total: found.count.length },
  };
}

function bankColouring(one, layer) {
  const found = layer.lenses[LATENT];
  return {
    of: (token) => {
      const bank = commonBank(found, token);
      return bank === null ? null : { fill: bankColour(one, bank), opacity: 0.85 };
    },
    legend: { kind: "banks", layers: one.search.bank_layers },
  };
}
