// On a narrow screen the panel lies below the image: what the chosen patch means is told at the bottom until it is seen.

const PEEKED = 3;

function drawPeek() {
  const one = reading();
  const layer = layerAt(state.layer);
  const token = state.token;
  const entries = entriesOf(layer, state.lens, token).slice(0, PEEKED);
  const told = entries.map((entry) => {
    const above = Number.isNaN(entry.gap) ? "" : ` ${gapText(entry.gap)}`;
    return el("span", {}, el("b", {}, foreign(entry.word)), ` ${scoreText(entry)}${above}`);
  });
  byId("peek-words").replaceChildren(
    el("small", { text: `${nameOf(one, token)}, layer ${layer.layer}` }),
    ...(told.length ? told : [el("span", { text: "nothing" })]),
  );
}

function readPeek() {
  watch(["reading", "layer", "token", "lens"], drawPeek);
  byId("peek-more").addEventListener("click", () => byId("panel").scrollIntoView({ block: "start" }));
  new IntersectionObserver(([seen]) => byId("peek").classList.toggle("away", seen.isIntersecting)).observe(byId("lenses"));
}
