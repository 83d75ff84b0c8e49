// Putting the parts of the explorer together.

async function openExplorer() {
  byId("source").textContent = "lensbank";
  byId("facts").textContent = "Drop an image. The page shows, layer by layer, what its visual tokens mean to the language model.";
  listenToForm();
  try {
    server = await request("/api/server");
  } catch (error) {
    fail(error.message);
    return;
  }
  drawForm();
  drawChosen();
  listenToStore();
  watch(["reading"], drawAnswer);
  watch(["reading", "beside"], drawKeep);
  watch(["reading", "layer", "token"], drawContextsButton);
  byId("lenses").after(byId("contexts")); // beside the words that it is about
  byId("contexts-button").addEventListener("click", showContexts);
  moreAbove = () => byId("asker").getBoundingClientRect().height;
  moreState = () => ({ ids: ids.join(",") });
  byId("question").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("cancel").addEventListener("click", cancel);
  await openStore();
  const address = location.hash;
  const named = new URLSearchParams(address.slice(1)).get("ids")?.split(",").filter(Boolean) ?? [];
  if (named.length) await restore(named, address);
  document.documentElement.dataset.live = "";
}

openExplorer();
