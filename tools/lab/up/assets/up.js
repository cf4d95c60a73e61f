// The buttons, and what is shown beside the live pages. Those look after themselves.
"use strict";

const sections = [...document.querySelectorAll("[data-overlay]")];
const last = document.querySelector(".last");
let state = null;

// say puts text where screen readers hear it, once.
function say(text, problem) {
  if (last.textContent === text) return;
  last.textContent = text;
  last.classList.toggle("problem", problem);
}

// replicas are those that a section's overlays should have: of all of them, when it is for all.
const replicas = (overlay) => state.overlays.filter((o) => overlay === "all" || o.name === overlay).map((o) => o.replicas);

async function step(body) {
  try {
    const answer = await fetch("/step", { method: "POST", body: JSON.stringify(body) });
    if (answer.status === 400) say((await answer.text()).trim(), true);
  } catch {
    return; // refresh says that nobody answers
  }
  await refresh();
}

// One after the other: a second press of + counts from what the first has made.
let steps = Promise.resolve();

for (const section of sections) {
  const { overlay } = section.dataset;
  section.addEventListener("click", ({ target }) => {
    const { step: what, scale, toggle } = target.dataset;
    steps = steps.then(async () => {
      if (state === null) return;
      if (what) await step({ overlay, ...JSON.parse(what) });
      if (scale) await step({ overlay, scale: Math.max(0, Math.max(...replicas(overlay)) + Number(scale)) });
      if (toggle) await step({ overlay, [toggle]: target.ariaPressed === "true" ? "up" : "down" });
    });
  });
}

// set changes an element only if that changes something.
function set(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

function show(section) {
  const { overlay } = section.dataset;
  const shown = state.overlays.filter((o) => overlay === "all" || o.name === overlay);
  const [fewest, most] = [Math.min(...replicas(overlay)), Math.max(...replicas(overlay))];
  set(section.querySelector("output"), "textContent", fewest === most ? `${most}` : `${fewest}–${most}`);
  set(section.querySelector('[data-toggle="dns"]'), "ariaPressed", `${shown.every((o) => o.dnsDown)}`);
  const line = section.querySelector(".state");
  if (!line) return;
  const [o] = shown;
  const parts = [`${o.ready} of ${o.replicas} pods ready`];
  if (o.starting) parts.push(`${o.starting} starting`);
  if (o.leaving) parts.push(`${o.leaving} no longer ready`);
  if (o.updating) parts.push(`rolling update: ${Math.min(o.updated, o.replicas)} of ${o.replicas} new`);
  set(line.querySelector(".pods"), "textContent", parts.join(", "));
  const faults = [...o.faults, ...(o.dnsDown ? ["DNS down"] : []), ...(state.apiServerDown ? ["API server down"] : [])];
  set(line.querySelector(".faults"), "textContent", faults.join(", "));
}

const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

// entry is a line of the log. What is in it came from elsewhere: it is text and nothing else.
function entry({ at, overlay, action, problem }) {
  const element = (name, text, className = "") => Object.assign(document.createElement(name), { textContent: text, className });
  const line = document.createElement("li");
  line.append(element("time", clock(at)), element("b", overlay), element("span", action));
  if (problem) line.append(element("span", problem, "problem"));
  return line;
}

let newest = "";

function log([first]) {
  if (!first || first.at === newest) return;
  newest = first.at;
  document.querySelector(".log").replaceChildren(...state.steps.map(entry));
  say(`${clock(first.at)} ${first.overlay}: ${first.action}${first.problem ? `: ${first.problem}` : ""}`, Boolean(first.problem));
}

async function refresh() {
  try {
    const answer = await fetch("/state");
    state = await answer.json();
  } catch {
    state = null;
    newest = "";
    say("The lab does not answer: it has ended.", true);
  }
  for (const button of document.querySelectorAll("button")) set(button, "disabled", state === null);
  if (state === null) return;
  // Another lab answers at the same port.
  const names = state.overlays.map((o) => o.name);
  if (names.join() !== sections.slice(1).map((s) => s.dataset.overlay).join()) return location.reload();
  sections.forEach(show);
  set(document.querySelector('[data-toggle="api-server"]'), "ariaPressed", `${state.apiServerDown}`);
  log(state.steps ?? []);
}

refresh();
setInterval(() => document.hidden || refresh(), 500);
