// Keeps a page as the store is: asks for the map of what changes and puts each value where the page has a place for it.
// Texts are set as text, and attributes only from this list, so nothing that a store says can become markup.
"use strict";

const ATTRIBUTES = new Set(["points", "cx", "cy", "x", "width", "value", "max"]);
const { url, shape, again } = document.currentScript.dataset;

function put(element, piece) {
  if ("text" in piece && element.textContent !== piece.text) element.textContent = piece.text;
  if ("state" in piece) element.dataset.state = piece.state;
  if ("hidden" in piece) element.toggleAttribute("hidden", piece.hidden);
  for (const [name, value] of Object.entries(piece.set ?? {})) {
    if (ATTRIBUTES.has(name) && element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}

function show(found) {
  if (found.shape !== shape) return location.reload();
  for (const element of document.querySelectorAll("[data-live]")) {
    const piece = found.live[element.dataset.live];
    if (piece) put(element, piece);
  }
}

let last = new Date();

function tell(answers) {
  document.getElementById("offline").hidden = answers;
  if (answers) last = new Date();
  document.getElementById("since").textContent = last.toLocaleTimeString();
}

async function follow() {
  let seconds = Number(again);
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    try {
      const answer = await fetch(url, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const found = await answer.json();
      tell(true);
      show(found);
      seconds = found.again;
    } catch {
      tell(false);
    }
  }
}

function light(event) {
  const step = event.target.closest?.("[data-step]")?.dataset.step;
  for (const line of document.querySelectorAll(".graph path")) {
    line.classList.toggle("lit", step !== undefined && (line.dataset.from === step || line.dataset.to === step));
  }
}

for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, light);
follow();
