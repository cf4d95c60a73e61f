// Starts the page: listens, draws what it hears, and wires the buttons.
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.remove("still");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [theme, pause, line, said] = ["theme", "pause", "line", "said"].map((id) => document.getElementById(id));
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  let services = new Map();
  let paused = false;
  const full = {}; // the rate of the strongest colour, by service

  const nothing = { lanes: [], columns: new Map(), events: new Map(), edge: 0 };
  const parts = [...document.querySelectorAll("section[data-service]")].map((section) => {
    const part = { section, name: section.dataset.service, plot: section.querySelector(".plot"), s: nothing, g: { from: 1, lanes: [], second: () => 0 } };
    const form = section.querySelector(".controls");
    part.showLoad = form ? controls.on(form, part.name) : () => {};
    part.refresh = inspect.on(part.plot, () => part);
    return part;
  });

  function draw() {
    for (const part of parts) {
      const s = services.get(part.name);
      if (!s) continue;
      part.s = s;
      part.g = map.geometry(s, Math.max(260, part.plot.clientWidth));
      const colours = palette.of(dark(), strongest(part.name, s));
      map.draw(part.plot.querySelector("canvas"), s, part.g, colours);
      const ramp = part.section.querySelector(".ramp"), drawn = `${dark()} ${colours.full}`;
      if (ramp.dataset.drawn !== drawn) palette.drawKey(ramp, colours);
      ramp.dataset.drawn = drawn;
      texts.show(part.section, s);
      part.showLoad(s.load);
      part.refresh();
    }
    theme.setAttribute("aria-pressed", String(dark()));
  }

  // strongest is nearly the highest rate there is, so that one burst does not bleach the
  // rest; it goes up at once and down late, so that colours seldom change.
  function strongest(name, s) {
    const rates = [];
    for (const [second, c] of s.columns) if (second < s.complete) for (const { rpcs } of c.cells.values()) if (rpcs > 0) rates.push(rpcs);
    rates.sort((a, b) => a - b);
    const wanted = palette.full(rates.length ? rates[Math.floor(0.995 * (rates.length - 1))] : 1);
    if (!(full[name] >= wanted && full[name] <= 2.5 * wanted)) full[name] = wanted;
    return full[name];
  }

  // speak tells those who listen when something else happens, and not more often than every few seconds.
  const spoken = new Map();
  let spokeAt = 0;
  function speak() {
    const now = Date.now();
    if (now - spokeAt < 5000) return;
    const news = [...services].filter(([name, s]) => spoken.get(name) !== s.kind);
    if (news.length === 0) return;
    for (const [name, s] of news) spoken.set(name, s.kind);
    spokeAt = now;
    said.textContent = news.map(([name, s]) => `${name}: ${s.finding}`).join(" ");
  }

  const stream = new EventSource("live");
  stream.addEventListener("open", () => say("live"));
  stream.addEventListener("error", () => {
    say("the client does not answer; trying again");
    // A refusal ends the stream for good.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  stream.addEventListener("message", (event) => {
    services = store.take(JSON.parse(event.data));
    if (paused) return;
    draw();
    speak();
  });
  const say = (text) => line.textContent !== text && (line.textContent = text);

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) draw();
  });
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    draw();
  });
  system.addEventListener("change", draw);
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    draw();
  }).observe(root);
})();
