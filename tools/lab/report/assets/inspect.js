// What the pointer, the keys and a finger show on the maps: a line through all of
// them at one moment, and the figures beside it. A click or Enter keeps the moment.
"use strict";

const inspect = (() => {
  function start(plots, data, tip, onKeep) {
    let kept = null; // a time that stays when the pointer goes
    for (const plot of plots) {
      const { node } = plot;
      const point = (event) => {
        const cell = under(plot, event);
        if (cell) show(plot, cell, event);
        else hide();
      };
      node.addEventListener("pointermove", point);
      node.addEventListener("pointerdown", point);
      // A finger that is lifted has not gone away: what it found stays to be read.
      node.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && hide());
      if (plot.small) continue;
      node.addEventListener("blur", hide);
      node.addEventListener("keydown", (event) => walk(plot, event));
      node.addEventListener("click", (event) => {
        const cell = under(plot, event);
        if (cell) keep(plot, plot.run.from + cell.bin * plot.run.bin);
      });
    }
    addEventListener("pointerdown", (event) => event.target.closest(".plot") || hide());

    function keep(plot, t) {
      kept = t;
      onKeep(plot, t);
    }

    function walk(plot, event) {
      const { run } = plot;
      if (event.key === "Escape") {
        if (tip.hidden && kept !== null) keep(plot, null);
        hide();
      }
      if (event.key === "Enter" && plot.at) keep(plot, run.from + plot.at[0] * run.bin);
      const far = event.shiftKey ? 10 : 1;
      const steps = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };
      const step = steps[event.key];
      if (!step || run.bins === 0) return;
      event.preventDefault();
      const within = (value, most) => Math.max(0, Math.min(most, value));
      // The first key leads to the first cell, or to the end.
      const [bin, pod] = plot.at ?? [Number.isFinite(step[0]) ? -step[0] : 0, -step[1]];
      plot.at = [within(bin + step[0], run.bins - 1), within(pod + step[1], run.pods.length - 1)];
      show(plot, { bin: plot.at[0], pod: run.pods.length ? plot.at[1] : null }, null);
    }

    function under({ run, g, node }, event) {
      const place = node.querySelector("canvas").getBoundingClientRect();
      const x = (event.clientX - place.left) * (g.width / place.width), y = (event.clientY - place.top) * (g.width / place.width);
      const bin = Math.floor((g.x.invert(x) - run.from) / run.bin + 1e-9);
      if (!(bin >= 0 && bin < run.bins)) return null;
      const pod = Math.floor((y - g.top) / g.row);
      return { bin, pod: pod >= 0 && pod < run.pods.length ? pod : null };
    }

    // show puts the figures beside the pointer, or beside the cell when there is none.
    function show(plot, { bin, pod }, pointer) {
      const { run, g, node } = plot;
      const from = run.from + bin * run.bin, to = from + run.bin;
      line((from + to) / 2);
      mark(plot, bin, pod);
      tip.replaceChildren(...figures(run, data.phases, bin, pod === null ? null : run.pods[pod]));
      tip.hidden = false;
      const place = node.querySelector("canvas").getBoundingClientRect();
      const x = pointer ? pointer.clientX : place.left + g.x(to);
      const y = pointer ? pointer.clientY : place.top + (pod === null ? g.height : g.top + pod * g.row);
      const wide = document.documentElement.clientWidth;
      const left = x + 16 + tip.offsetWidth > wide ? x - 16 - tip.offsetWidth : x + 16;
      // A finger hides what is below it.
      const top = pointer?.pointerType === "touch" ? y - tip.offsetHeight - 24 : Math.min(innerHeight - tip.offsetHeight - 4, y + 14);
      tip.style.left = `${Math.max(4, Math.min(wide - tip.offsetWidth - 4, left)) + scrollX}px`;
      tip.style.top = `${Math.max(4, top) + scrollY}px`;
    }

    function line(t) {
      for (const { node, g } of plots) {
        const cursor = node.querySelector(".cursor");
        cursor.hidden = t === null;
        if (t !== null) cursor.style.transform = `translateX(${g.x(t).toFixed(1)}px)`;
      }
    }

    // mark frames the cell, and picks out its pod's name.
    function mark(plot, bin, pod) {
      for (const other of document.querySelectorAll(".pod.here")) other.classList.remove("here");
      for (const other of plots) if (other !== plot && !other.small) other.node.querySelector(".cell").hidden = true;
      if (!plot || plot.small) return;
      const { node, run, g } = plot;
      const cell = node.querySelector(".cell");
      cell.hidden = pod === null;
      if (pod === null) return;
      const from = g.x(run.from + bin * run.bin), wide = g.x(run.from + (bin + 1) * run.bin) - from;
      cell.style.transform = `translate(${from - 1}px, ${g.top + pod * g.row - 1}px)`;
      cell.style.width = `${wide + 2}px`;
      cell.style.height = `${g.row + 2}px`;
      node.querySelectorAll(".pod")[pod]?.classList.add("here");
    }

    function hide() {
      tip.hidden = true;
      line(kept);
      mark(null);
    }

    // open shows a moment that nobody points at.
    function open(plot, t) {
      keep(plot, t);
      hide();
      if (t === null || plot.run.bins === 0) return;
      const bin = Math.max(0, Math.min(plot.run.bins - 1, Math.floor((t - plot.run.from) / plot.run.bin + 1e-6)));
      plot.at = [bin, 0];
      show(plot, { bin, pod: null }, null);
    }

    return { open, under };
  }

  function figures(run, phases, bin, pod) {
    const from = run.from + bin * run.bin, to = from + run.bin;
    const line = (tag, text, kind = "") => Object.assign(document.createElement(tag), { textContent: text, className: kind });
    const phase = phases.findLast((p) => p.from <= (from + to) / 2);
    const rate = (n, what) => `${(n / run.bin).toLocaleString("en", { maximumFractionDigits: 1 })} ${what} (${n} in ${run.bin} s)`;
    const lines = [line("b", pod ? pod.name : run.overlay), line("span", `${from.toFixed(2)}–${to.toFixed(2)} s${phase ? `, ${phase.name}` : ""}`)];
    if (pod) lines.push(line("span", rate(pod.rpcs[bin], "RPC/s")), line("span", state(pod, from, to)), ...waits(pod).map((text) => line("span", text)));
    else lines.push(line("span", rate(run.rpcs[bin], "RPC/s sent")));
    lines.push(line("span", `${run.failed[bin]} RPCs of this overlay failed here`, run.failed[bin] > 0 ? "fail" : ""));
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

  function waits(pod) {
    const lines = [];
    if (pod.first) lines.push(`first RPC ${pod.first.after.toFixed(2)} s after it was ready`);
    if (pod.off) lines.push(`last attempt ${pod.off.after.toFixed(2)} s after it was not`);
    return lines;
  }

  return { start };
})();
