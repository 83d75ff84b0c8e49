// The store's image banks: their images as something to ask about, and a word looked for in all of them.

const STORE_PAGE = 40; // images that are listed at a time
const STORE_FOUND = 40; // images that a word leads to at most
let storeNext = null; // where the list goes on
let storeTurn = 0; // what was asked for last: answers may come in another order

const storeModel = () => byId("model").value || server.models[0].name;

/** An indexed image as one that was brought; null, and said why, where its file is not at hand. */
async function take(id) {
  fail("");
  try {
    return await request(`/api/indexed/${id}`, { method: "POST" });
  } catch (error) {
    fail(error.message);
    return null;
  }
}

async function useIndexed(id) {
  const image = await take(id);
  if (image) choose(image);
}

/** Read an indexed image as the form has it, and show the patch that was found. */
async function readIndexed(id, patch) {
  const image = await take(id);
  if (!image) return;
  chosen.splice(0, chosen.length);
  choose(image);
  const number = ids.indexOf(await ask());
  if (!patch || number < 0) return;
  history.replaceState(null, "", `#reading=${number + 1}&layer=${patch.layer}&patch=${patch.view}:${patch.row},${patch.col}&pinned=1`);
  readAddress();
  drawAll();
}

/** A line of the list: the image, which is read by a click, what else is told of it, and a button that only adds it. */
function storeItem({ id, image, corpus }, told, patch) {
  return el(
    "li",
    {},
    el("button", { type: "button", class: "read", title: `Read ${image} (${corpus})`, onclick: () => readIndexed(id, patch) }, foreign(image)),
    told && el("span", {}, told),
    el("button", { type: "button", class: "use", "aria-label": `Put ${image} into the prompt`, title: "Put it into the prompt", text: "+", onclick: () => useIndexed(id) }),
  );
}

/** The images themselves: from the first, or the next ones. */
async function listStore(after) {
  const turn = (storeTurn += 1);
  const name = byId("store-name").value.trim();
  const asked = new URLSearchParams({ model: storeModel(), limit: STORE_PAGE, ...(name ? { name } : {}), ...(after ? { after } : {}) });
  const { total, images, next } = await request(`/api/indexed?${asked}`);
  if (turn !== storeTurn) return;
  const items = images.map((one) => storeItem(one));
  if (after) byId("store-images").append(...items);
  else byId("store-images").replaceChildren(...items);
  storeNext = next;
  byId("store-more").hidden = !next;
  byId("store-count").textContent = counted(total, "image");
  byId("store").hidden = !total && !name;
}

/** Images with a word, best first. */
async function findInStore(word) {
  const turn = (storeTurn += 1);
  const asked = new URLSearchParams({ word, model: storeModel(), top_k: STORE_FOUND });
  const found = await request(`/api/find?${asked}`);
  if (turn !== storeTurn) return;
  const item = ({ image, corpus, count, patches: [best] }) => {
    const words = best.word.slice(0, 3).join(", ");
    const told = `layer ${best.layer} · ${best.row},${best.col} · ${words} · ${counted(count, "patch", "patches")}`;
    return storeItem({ id: best.sha256, image, corpus }, told, best);
  };
  byId("store-images").replaceChildren(...found.images.map(item));
  byId("store-more").hidden = true;
  byId("store-count").textContent = `${counted(found.total_patches, "patch", "patches")} of ${counted(found.total_images, "image")}`;
}

async function drawStore() {
  const word = byId("store-word").value.trim();
  try {
    await (word ? findInStore(word) : listStore(null));
  } catch (error) {
    fail(error.message);
  }
}

/** A model without image banks of its own has no list; that is no failure. */
async function openStore() {
  await listStore(null).catch(() => (byId("store").hidden = true));
}

function listenToStore() {
  byId("store-find").addEventListener("submit", (event) => {
    event.preventDefault();
    drawStore();
  });
  byId("store-word").addEventListener("search", () => byId("store-word").value || drawStore()); // emptied by its own cross
  byId("store-word").addEventListener("input", () => (byId("store-name").value = "")); // one or the other
  byId("store-name").addEventListener("input", () => {
    byId("store-word").value = "";
    drawStore();
  });
  byId("store-more").addEventListener("click", () => listStore(storeNext).catch((error) => fail(error.message)));
  byId("model").addEventListener("change", () => (byId("store-word").value ? drawStore() : openStore()));
}
