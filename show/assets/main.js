// Putting the parts together.

const THEMES = ["system", "light", "dark"];
const darkSystem = globalThis.matchMedia("(prefers-color-scheme: dark)");
let themeChosen = "system";
let printing = false;

function applyTheme() {
  const dark = themeChosen === "dark" || (themeChosen === "system" && darkSystem.matches);
  document.documentElement.dataset.theme = dark && !printing ? "dark" : "light";
  byId("theme").textContent = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[themeChosen];
  if (!geometry) return;
  drawFigure();
  drawBeside();
}

/** Paper is white, whatever the screen is. */
function forPaper(now) {
  printing = now;
  applyTheme();
}

function nextTheme() {
  themeChosen = nextOf(THEMES, themeChosen);
  applyTheme();
}

function openPage() {
  globalThis.addEventListener("beforeprint", () => forPaper(true));
  globalThis.addEventListener("afterprint", () => forPaper(false));
  state.words =
    Math.max(...data.readings[0].views.map((view) => view.cols), 1) <= 16 || data.readings[0].kind !== "image";
  readAddress();
  byId("main").hidden = false;
  readProvenance();
  readFigure();
  readCompare();
  readPanel();
  readPosition();
  readDepth();
  readPeek();
  readGallery();
  readOverview();
  readExport();
  readKeys();
  drawAll();
  globalThis.addEventListener("hashchange", () => {
    readAddress();
    drawAll();
  });
  // When the page could be used, in ms since it was opened.
  document.documentElement.dataset.ready = Math.round(performance.now());
}

applyTheme();
darkSystem.addEventListener("change", applyTheme);
byId("theme").addEventListener("click", nextTheme);
if (data.readings.length) openPage(); // a server's page begins without
