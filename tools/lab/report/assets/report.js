// Starts the page: the maps and what the pointer and the keys show on them.
"use strict";

(() => {
  const results = JSON.parse(document.getElementById("results").textContent);
  const data = lives.read(results);
  const root = document.documentElement;
  const figure = document.getElementById("figure");
  const axis = document.getElementById("axis");
  const tip = document.getElementById("tip");
  const plots = [...figure.querySelectorAll(".plot")].map((node) => ({ node, run: data.runs[node.parentElement.dataset.run] }));
  let scale = null;

  const table = document.getElementById("scorecard");
  scorecard.sortable(table);
  scorecard.strips(table, results);

  // The theme is the system's until the button chooses; paper is always light.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  let printing = false;
  const dark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  function draw() {
    // A window may have no width yet; nothing is legible below this one.
    const width = Math.max(640, figure.clientWidth);
    scale = heatmap.scales(data, width, dark());
    heatmap.drawKey(document.getElementById("key"), data, dark());
    heatmap.drawAxis(axis, data, scale);
    // On paper the axis cannot stay in view, so that every map has a copy.
    for (const copy of figure.querySelectorAll(".paper")) copy.replaceChildren(axis.firstElementChild.cloneNode(true));
    for (const plot of plots) plot.size = heatmap.draw(plot.node, plot.run, data, scale);
    button.setAttribute("aria-pressed", String(dark()));
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    draw();
  });
  system.addEventListener("change", draw);
  for (const [event, on] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = on;
      draw();
    });
  }
  let drawn = 0;
  new ResizeObserver(() => {
    // Printing changes the width as well, but a picture made for the screen is
    // scaled to the paper.
    if (figure.clientWidth === drawn || matchMedia("print").matches) return;
    drawn = figure.clientWidth;
    draw();
  }).observe(figure);
  drawn = figure.clientWidth;
  draw();

  for (const plot of plots) {
    plot.node.addEventListener("pointermove", (event) => {
      const [x, y] = d3.pointer(event, plot.node.querySelector("svg"));
      const bin = Math.floor((scale.x.invert(x) - plot.run.from) / plot.run.bin);
      const pod = Math.floor((y - heatmap.band) / plot.size.row);
      if (bin < 0 || bin >= plot.run.bins || x < scale.x.range()[0]) return hide();
      show(plot, bin, pod >= 0 && pod < plot.run.pods.length ? pod : null, event);
    });
    plot.node.addEventListener("pointerleave", hide);
    plot.node.addEventListener("blur", hide);
    plot.node.addEventListener("keydown", (event) => walk(plot, event));
  }

  function walk(plot, event) {
    const { run } = plot;
    if (run.bins === 0) return;
    const far = event.shiftKey ? 10 : 1;
    const steps = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };
    if (event.key === "Escape") return hide();
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const keep = (value, most) => Math.max(0, Math.min(most, value));
    const [bin, pod] = plot.at ?? [-step[0], -step[1]];
    plot.at = [keep(bin + step[0], run.bins - 1), keep(pod + step[1], run.pods.length - 1)];
    show(plot, plot.at[0], run.pods.length ? plot.at[1] : null, null);
  }

  // show puts a line through every map at the moment, and the figures beside the
  // pointer, or beside the cell when there is none.
  function show(plot, bin, index, pointer) {
    const { run, size } = plot;
    const from = run.from + bin * run.bin, to = from + run.bin;
    const x = scale.x((from + to) / 2);
    d3.selectAll(".figure .cursor").attr("x1", x).attr("x2", x).attr("visibility", "visible");
    d3.selectAll(".figure .focus").attr("visibility", "hidden");
    d3.selectAll(".figure .pod").classed("here", false);
    if (index !== null) {
      d3.select(plot.node).selectAll(".pod").classed("here", (_, i) => i === index);
      d3.select(plot.node).select(".focus").attr("visibility", "visible").attr("x", scale.x(from) - 1).attr("y", heatmap.band + index * size.row)
        .attr("width", scale.x(to) - scale.x(from) + 2).attr("height", size.row);
    }
    tip.replaceChildren(...words(run, bin, from, to, index === null ? null : run.pods[index]));
    tip.hidden = false;
    const box = plot.node.getBoundingClientRect();
    const px = pointer ? pointer.clientX : box.left + x;
    const py = pointer ? pointer.clientY : box.top + heatmap.band + (index ?? 0) * size.row;
    const left = px + 16 + tip.offsetWidth > innerWidth ? px - 16 - tip.offsetWidth : px + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(innerHeight - tip.offsetHeight - 4, py + 14))}px`;
  }

  function words(run, bin, from, to, pod) {
    const line = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    const phase = data.phases.findLast((p) => p.from <= (from + to) / 2);
    const lines = [line("b", pod ? pod.name : run.overlay), line("span", `${from.toFixed(2)}–${to.toFixed(2)} s${phase ? `, ${phase.name}` : ""}`)];
    if (pod) {
      const n = pod.rpcs[bin];
      lines.push(line("span", `${(n / run.bin).toLocaleString("en", { maximumFractionDigits: 1 })} RPC/s (${n} in ${run.bin} s)`), line("span", state(pod, from, to)));
    }
    lines.push(Object.assign(line("span", `${run.failed[bin]} RPCs of this overlay failed here`), { className: run.failed[bin] > 0 ? "fail" : "" }));
    return lines;
  }

  function state(pod, from, to) {
    if (pod.ready === null) return "never ready";
    if (to <= pod.ready) return "not ready yet";
    if (pod.killed && pod.ended !== null && from >= pod.ended) return `killed at ${pod.ended.toFixed(2)} s`;
    if (from < pod.listed) return pod.ready < 0 ? "ready since before the scenario" : `ready since ${pod.ready.toFixed(2)} s`;
    if (pod.ended === null || from < pod.ended) return `not ready since ${pod.listed.toFixed(2)} s`;
    return `gone since ${pod.ended.toFixed(2)} s`;
  }

  function hide() {
    tip.hidden = true;
    d3.selectAll(".figure .cursor, .figure .focus").attr("visibility", "hidden");
    d3.selectAll(".figure .pod").classed("here", false);
  }
})();
