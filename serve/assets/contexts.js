// The corpus behind a word: in which other contexts the bank holds the token of the best neighbour.

const CONTEXTS = 20; // shown at most

/** The best LatentLens neighbour of the chosen token at the layer that is shown; null where there is none. */
function bestNeighbor() {
  const layer = layerAt(state.layer);
  return lensesOf(reading()).includes(LATENT) ? (entriesOf(layer, LATENT, state.token)[0] ?? null) : null;
}

function drawContextsButton() {
  const near = bestNeighbor();
  byId("contexts").hidden = !near;
  byId("contexts-button").textContent = near ? `Other contexts of “${near.word}” (bank layer ${near.bankLayer})` : "";
  byId("contexts-list").replaceChildren();
}

async function showContexts() {
  const near = bestNeighbor();
  if (!near) return;
  const asked = new URLSearchParams({ layer: near.bankLayer, token_id: near.tokenId, model: reading().model.id, limit: CONTEXTS });
  try {
    const { total, contexts } = await request(`/api/contexts?${asked}`);
    const item = ({ sentence, char_start: start, char_end: end, corpus, document }) => {
      const text = Array.from(sentence); // places count characters, not UTF-16 units
      const part = (from, to) => text.slice(from, to).join("");
      return el("li", { title: `${[corpus].flat().join(", ")}: ${document}` }, part(0, start), el("b", { text: part(start, end) }), part(end));
    };
    const more = total > contexts.length ? el("li", { text: `… ${counted(total, "context")} in all` }) : null;
    byId("contexts-list").replaceChildren(...contexts.map(item), ...(more ? [more] : []));
  } catch (error) {
    fail(error.message);
  }
}
