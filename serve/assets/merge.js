// Readings that come one layer at a time, each with tables of its own, put into the page's.

const TEXT_COLUMNS = { neighbors: ["word", "token", "sentence", "corpus", "document"], vocabulary: ["word", "token"] };

/** Append a table's columns; numbers of strings move up, marks (below 0) stay. */
function appendTable(name, table, strings) {
  const own = data[name];
  for (const [column, values] of Object.entries(table)) {
    const moved = TEXT_COLUMNS[name].includes(column) ? (value) => (value < 0 ? value : value + strings) : (value) => value;
    for (const value of values) own[column].push(moved(value));
  }
}

/** The readings of a pack whose numbers are those of the page's own tables. */
function adopted(packed) {
  const strings = data.strings.length;
  const pictures = data.pictures.length;
  const [neighbors, words] = [data.neighbors.word.length, data.vocabulary.word.length];
  for (const text of packed.strings) data.strings.push(text);
  for (const picture of packed.pictures) data.pictures.push(picture);
  appendTable("neighbors", packed.neighbors, strings);
  appendTable("vocabulary", packed.vocabulary, strings);
  for (const one of packed.readings) {
    for (const image of one.images) if (image.picture !== null) image.picture += pictures;
    if (one.tokens.emitted) one.tokens.emitted = one.tokens.emitted.map((entry) => (entry < 0 ? entry : entry + words));
    for (const layer of one.layers) {
      for (const [lens, found] of Object.entries(layer.lenses)) {
        const first = isLatent(lens) ? neighbors : words;
        found.entry = found.entry.map((entry) => entry + first);
      }
    }
    prepare(one);
  }
  return packed.readings;
}

/** Put a layer into a reading that is there; the layer that is shown stays shown. */
function addLayer(one, layer) {
  if (one.layers.some((each) => each.layer === layer.layer)) return;
  const shown = data.readings[state.reading] === one ? one.layers[state.layer]?.layer : null;
  layer.tokens = one.tokens;
  one.layers.push(layer);
  one.layers.sort((a, b) => a.layer - b.layer);
  if (shown !== null) state.layer = one.layers.findIndex((each) => each.layer === shown);
}

/** A number of the page's readings, with what one event has brought; a new one where there was none. */
function merge(packed, number) {
  const [part] = adopted(packed);
  if (number === null) {
    data.readings.push(part);
    return data.readings.length - 1;
  }
  for (const layer of part.layers) addLayer(data.readings[number], layer);
  return number;
}
