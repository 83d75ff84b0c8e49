// The form: images that are dropped, pasted or chosen, the prompt, and what else is asked.

let server = null; // what /api/server says
const chosen = []; // [{id, name}] of the prompt, in its order
const brought = new Set(); // ids of every image of this session, whose mean can be subtracted

/** Ask the server; what it refuses becomes an Error with its own words. */
async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (answer.status === 401) throw new Error("The token is no longer known: open the address that the server printed.");
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok && said.error) throw new Error(`${said.error.message} ${said.error.hint}`.trim());
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return said;
}

function fail(text) {
  byId("failure").textContent = text;
  byId("failure").hidden = !text;
}

let bringing = null; // what is on its way to the server: true in the end where all of it has come

/** Bring files; what is asked meanwhile waits for them. */
function upload(files) {
  const before = bringing;
  const now = (async () => (await before, await uploadAll(files)))();
  bringing = now;
  return now.finally(() => (bringing = bringing === now ? null : bringing));
}

async function uploadAll(files) {
  let whole = true;
  fail("");
  for (const file of files) {
    if (file.size > server.limits.max_bytes) {
      fail(`${file.name} has ${file.size.toLocaleString("en")} bytes; up to ${server.limits.max_bytes.toLocaleString("en")} are taken.`);
      whole = false;
      continue;
    }
    try {
      const image = await request(`/api/images?name=${encodeURIComponent(file.name || "pasted.png")}`, { method: "POST", body: file });
      choose(image);
    } catch (error) {
      fail(error.message);
      whole = false;
    }
  }
  return whole;
}

function choose(image) {
  if (chosen.length >= server.limits.max_images) {
    fail(`A prompt takes up to ${server.limits.max_images} images.`);
    return;
  }
  chosen.push({ id: image.id, name: image.name });
  brought.add(image.id);
  drawChosen();
}

function drawChosen() {
  const item = ({ id, name }, number) =>
    el(
      "figure",
      {},
      el("img", { src: `/api/images/${id}`, alt: name, title: name }),
      el("button", { type: "button", "aria-label": `Leave out ${name}`, text: "×", onclick: () => (chosen.splice(number, 1), drawChosen()) }),
    );
  byId("chosen").replaceChildren(...chosen.map(item));
  byId("prompt-name").textContent = chosen.length ? "Prompt" : "Text";
  drawCentre();
}

/** Whose mean is subtracted, where there is a choice. */
function drawCentre() {
  const on = byId("centre-on");
  on.options[1].text = `all ${counted(brought.size, "image")} brought here`;
  byId("centre-on-label").hidden = !byId("centre").checked || !chosen.length || brought.size < 2;
}

/** What of the question says whether, and on what, states are centred. */
function centring() {
  if (!byId("centre").checked) return {};
  const all = chosen.length && byId("centre-on").value && brought.size > 1;
  return { centre: true, ...(all ? { centre_images: [...brought].slice(-server.limits.max_centre_images) } : {}) };
}

const readKinds = () => [
  "image",
  ...(byId("read-prompt").checked ? ["prompt"] : []),
  ...(byId("read-answer").checked ? ["answer"] : []),
];

/** The form as the server takes it. */
function question() {
  const text = byId("prompt").value;
  const lenses = Array.from(byId("asked-lenses").querySelectorAll("input:checked"), (box) => box.value);
  const where = byId("where").value.split(/\s*(?:;|\band\b)\s*/u).filter(Boolean);
  return {
    ...(chosen.length ? { images: chosen.map(({ id }) => id), prompt: text || null, read: readKinds() } : { text }),
    model: server.models.length > 1 ? byId("model").value : null,
    layers: byId("asked-layers").value.trim() || null,
    lenses: lenses.length ? lenses : ["latent"],
    top_k: Number(byId("top-k").value) || 5,
    where,
    distinct: byId("distinct").checked ? "word" : null,
    ...centring(),
  };
}

/** The form as it was when something was asked. */
function fillIn(asked, images) {
  chosen.splice(0, chosen.length, ...(asked.images ?? []).map((id, number) => ({ id, name: images[number]?.source ?? "image" })));
  for (const id of [...(asked.images ?? []), ...(asked.centre_images ?? [])]) brought.add(id);
  byId("centre").checked = Boolean(asked.centre);
  byId("centre-on").value = asked.centre_images?.length ? "all" : "";
  drawChosen();
  byId("prompt").value = asked.prompt ?? asked.text ?? "";
  byId("asked-layers").value = [asked.layers ?? ""].flat().join(",");
  byId("top-k").value = asked.top_k ?? 5;
  byId("where").value = (asked.where ?? []).join("; ");
  byId("distinct").checked = asked.distinct === "word";
  byId("read-prompt").checked = (asked.read ?? []).includes("prompt");
  byId("read-answer").checked = (asked.read ?? []).includes("answer");
  if (asked.model) byId("model").value = asked.model;
  for (const box of byId("asked-lenses").querySelectorAll("input")) box.checked = (asked.lenses ?? ["latent"]).includes(box.value);
}

function drawForm() {
  byId("model").replaceChildren(...server.models.map(({ name }) => el("option", { value: name, text: name })));
  byId("model-label").hidden = server.models.length < 2;
  const box = ([lens, title]) =>
    el("label", {}, el("input", { type: "checkbox", value: lens, checked: lens === "latent" }), ` ${title}`);
  byId("asked-lenses").append(...Object.entries(server.lenses).map(box));
  byId("top-k").max = server.limits.max_top_k;
}

const imagesOf = (files) => Array.from(files).filter((file) => file.type.startsWith("image/") || !file.type);

function listenToForm() {
  byId("centre").addEventListener("change", drawCentre);
  byId("file").addEventListener("change", async (event) => {
    await upload(event.target.files);
    event.target.value = ""; // the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = imagesOf(event.clipboardData?.files ?? []);
    if (!files.length) return;
    event.preventDefault();
    upload(files);
  });
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const over = (on) => byId("drop").classList.toggle("over", on);
  document.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  document.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault(); // a browser would open the file instead of this page
    over(false);
    upload(imagesOf(event.dataTransfer.files));
  });
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("question").requestSubmit();
  });
}
