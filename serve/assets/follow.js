// Readings on their way: asked for, followed layer by layer, cancelled, and restored from a link.

const ids = []; // of data.readings, in their order
const following = new Map(); // id → EventSource
const ended = new Set(); // ids of readings that are over
const spoken = new Map(); // id → what the model has said so far
let current = null; // id of the last that was asked for

/** Something has been added: draw what depends on how many readings and layers there are. */
function drawGrown(first) {
  if (first) openPage();
  else drawAll();
  makeStrip();
  byId("gallery").hidden = galleryImages().length < 2;
}

const coming = new Map(); // id → the reading with the model's answer, while layers of it are missing

/** A layer of a reading that is there already, now with the answer's tokens: shown once all layers have them. */
function receiveAnswered(id, packed, number) {
  const [part] = adopted(packed);
  const whole = coming.get(id);
  if (whole) addLayer(whole, part.layers[0]);
  else coming.set(id, part);
  const now = whole ?? part;
  if (now.layers.length < data.readings[number].layers.length) return;
  data.readings[number] = now;
  coming.delete(id);
  drawGrown(false);
}

function receive(id, packed, show) {
  const before = ids.indexOf(id);
  if (before >= 0 && packed.readings[0].answer !== data.readings[before].answer) {
    receiveAnswered(id, packed, before);
    return;
  }
  const number = merge(packed, before < 0 ? null : before);
  if (before >= 0) {
    drawGrown(false);
    return;
  }
  ids.push(id);
  drawGrown(ids.length === 1);
  if (show && ids.length > 1) showReading(number);
}

/** How far a reading is, in a line. */
function progressText(about) {
  if (about.status === "queued") return about.ahead ? `Waiting: ${counted(about.ahead, "reading")} before it.` : "Waiting for the model.";
  if (about.status === "running" && about.layers_done === about.layers && about.question.read?.includes("answer"))
    return `${counted(about.layers, "layer")} ${about.layers === 1 ? "is" : "are"} there; the model is answering.`;
  if (about.status === "running") return about.layers ? `Layer ${about.layers_done} of ${about.layers}.` : "The model is processing it.";
  if (about.status === "cancelled") return "Cancelled.";
  if (about.status === "failed") return "";
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  return `${counted(about.layers_done, "layer")} in ${seconds(about.total_ms)}, the first after ${seconds(about.first_ms)}.`;
}

function drawProgress(id, about) {
  const over = ["done", "failed", "cancelled"].includes(about.status);
  if (over) ended.add(id);
  // The answer to a cancelling may come after the end that it led to.
  if (id !== current || (ended.has(id) && !over)) return;
  byId("progress").textContent = progressText(about);
  byId("cancel").hidden = over;
  byId("asker").classList.toggle("busy", !over);
  if (about.error) fail(`${about.error.message} ${about.error.hint}`.trim());
}

/** The model's answer of the reading that is on its way, as it is said; else that of the reading that is shown. */
function drawAnswer() {
  const answer = current && !ended.has(current) ? spoken.get(current) : (ids.length ? reading().answer : null);
  byId("answer").hidden = (answer ?? null) === null;
  byId("answer-text").replaceChildren(foreign(answer ?? ""));
  byId("answer").classList.toggle("on-its-way", Boolean(current) && !ended.has(current));
}

function hear(id, answer) {
  spoken.set(id, answer);
  drawAnswer();
}

/** Follow a reading to its end; resolves then. */
function follow(id, show) {
  return new Promise((resolve) => {
    const source = new EventSource(`/api/readings/${id}/events?form=page`);
    following.set(id, source);
    const end = (event) => {
      source.close();
      following.delete(id);
      if (event?.data) drawProgress(id, JSON.parse(event.data));
      else ended.add(id);
      drawAnswer();
      resolve();
    };
    source.addEventListener("state", (event) => drawProgress(id, JSON.parse(event.data)));
    source.addEventListener("answer", (event) => hear(id, JSON.parse(event.data).answer));
    source.addEventListener("layer", (event) => receive(id, JSON.parse(event.data), show));
    for (const name of ["done", "failed", "cancelled"]) source.addEventListener(name, end);
    source.addEventListener("bye", () => {
      fail("The server was stopped.");
      end();
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      if (id === current) fail("The connection to the server was lost.");
      end();
    });
  });
}

/** Ask what the form says, and follow it to its end; its id, or null where it was refused. */
async function ask() {
  if (bringing && !(await bringing)) return null; // what is wrong with a file is said
  fail("");
  try {
    const about = await request("/api/readings", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(question()),
    });
    current = about.id;
    fail(""); // what was said of the one before may have come since
    drawProgress(about.id, about);
    drawAnswer();
    await follow(about.id, true);
    return about.id;
  } catch (error) {
    fail(error.message);
    return null;
  }
}

async function cancel() {
  try {
    if (current) drawProgress(current, await request(`/api/readings/${current}`, { method: "DELETE" }));
  } catch (error) {
    fail(error.message);
  }
}

/** The readings that a link names, and the form as it was for the one it shows. */
async function restore(named, shown) {
  let lost = 0;
  for (const id of named) {
    try {
      await request(`/api/readings/${id}/about`);
    } catch {
      lost += 1;
      continue;
    }
    await follow(id, false);
  }
  if (lost) fail(`${counted(lost, "reading")} of this link ${lost === 1 ? "is" : "are"} no longer kept by the server.`);
  if (!ids.length) return;
  history.replaceState(null, "", shown);
  readAddress();
  drawAll();
  const about = await request(`/api/readings/${ids[state.reading]}/about`).catch(() => null);
  if (about) fillIn(about.question, reading().images);
}

/** Where the reading that is shown can be saved from; with the one beside it, in a page. */
function drawKeep() {
  const id = ids[state.reading];
  byId("keep").hidden = !id;
  if (!id) return;
  const other = state.beside.startsWith("reading:") ? ids[Number(state.beside.split(":")[1]) - 1] : null;
  const more = other ? `&with=${other}` : "";
  for (const form of ["html", "json", "csv", "png", "svg", "pdf"]) {
    const several = ["html", "json", "csv"].includes(form);
    byId(`keep-${form}`).href = `/api/readings/${id}?download&wait=30&format=${form}${several ? more : ""}`;
  }
  byId("keep-figure").hidden = reading().kind !== "image";
}
