// Starts the page: draws what it holds, and wires its buttons and links.
"use strict";

(() => {
  const text = document.getElementById("results").textContent;
  const results = JSON.parse(text);
  const data = lives.read(results);
  const root = document.documentElement;
  const main = document.querySelector("main");
  const said = document.getElementById("said");
  const plotsOf = (selector, small) => [...document.querySelectorAll(selector)].map((node) => {
    const holder = node.closest("[data-run]");
    return { node, holder, small, run: data.runs[holder.dataset.run] };
  });
  const small = plotsOf(".multiple .plot", true), large = plotsOf("figure.run .plot", false);

  const table = document.getElementById("scorecard");
  scorecard.sortable(table);
  scorecard.strips(table, results);

  // The theme is the system's until the button chooses; paper is always light.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = document.getElementById("theme");
  const paper = { width: 1040, row: 11, ratio: 2 };
  let printing = false;
  const dark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  function draw() {
    const ratio = printing ? paper.ratio : Math.max(1, devicePixelRatio);
    const colours = palette.of(main, dark(), data.full);
    for (const key of document.querySelectorAll(".ramp")) palette.drawKey(key, colours);
    // Plots of one kind are equally wide, also those that are folded away.
    const across = small[0]?.node.clientWidth || 260;
    for (const plot of small) {
      plot.g = heatmap.small(plot.run, data, across);
      multiples.draw(plot, data, colours, ratio);
    }
    const width = printing ? paper.width : Math.max(280, main.clientWidth);
    for (const plot of large) {
      plot.g = heatmap.large(plot.run, data, width, printing ? paper.row : plot.run.control ? 14 : 16);
      heatmap.draw(plot.node.querySelector("canvas"), plot.run, data, plot.g, colours, ratio);
      words.draw(plot.node, plot.run, data, plot.g, colours);
      words.drawAxis(plot.holder.querySelector(".axis"), data, plot.g);
    }
    theme.setAttribute("aria-pressed", String(dark()));
  }

  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    draw();
  });
  system.addEventListener("change", draw);

  // Nobody can unfold a sheet of paper, and two figures should fit on it.
  const chosen = { theme: root.dataset.theme, folded: [] };
  function print(on) {
    if (on === printing) return;
    printing = on;
    if (on) {
      chosen.theme = root.dataset.theme;
      chosen.folded = [...document.querySelectorAll("details:not([open], .control)")];
      root.dataset.theme = "light";
    } else if (chosen.theme) root.dataset.theme = chosen.theme;
    else delete root.dataset.theme;
    for (const details of chosen.folded) details.open = on;
    draw();
  }
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  let drawn = main.clientWidth;
  draw();
  new ResizeObserver(() => {
    if (printing || main.clientWidth === drawn) return;
    drawn = main.clientWidth;
    draw();
  }).observe(main);

  // What is folded away has no size to lay words out by.
  document.querySelector("details.control:has(figure)")?.addEventListener("toggle", () => printing || draw());

  const kept = { plot: null, t: null };
  const inspector = inspect.start([...small, ...large], data, document.getElementById("tip"), (plot, t) => {
    Object.assign(kept, { plot, t });
    history.replaceState(null, "", moment.fragment(plot.run, t));
    label();
  });

  // label says on each figure's button what it copies.
  function label() {
    for (const { holder } of large) {
      holder.querySelector(".copy").textContent = kept.t === null ? "Copy link" : `Copy link to ${Number(kept.t.toFixed(2))} s`;
    }
  }
  for (const { holder, run } of large) {
    const button = holder.querySelector(".copy");
    button.addEventListener("click", async () => {
      said.textContent = button.textContent = await moment.copy(run, kept.t);
    });
    button.addEventListener("blur", label);
  }

  function open() {
    const found = moment.read(location.hash, large, data);
    if (!found) return;
    const { plot, t } = found;
    plot.holder.closest("details")?.setAttribute("open", "");
    plot.holder.scrollIntoView();
    plot.node.focus({ preventScroll: true });
    inspector.open(plot, t);
  }
  for (const plot of small) {
    plot.holder.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const cell = event.detail > 0 ? inspector.under(plot, event) : null;
      history.pushState(null, "", moment.fragment(plot.run, cell ? plot.run.from + cell.bin * plot.run.bin : null));
      open();
    });
  }
  addEventListener("hashchange", open);
  open();

  for (const node of document.querySelectorAll(".lives")) {
    node.closest("details").addEventListener("toggle", () => printing || pods.fill(node, data.runs[node.dataset.run]));
  }
  document.getElementById("json").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "results.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
