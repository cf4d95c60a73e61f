// The words of a run's figure: phases and seconds above it, names and counts
// beside it, and on the rows what they show.
"use strict";

const words = (() => {
  const number = d3.format(",");
  const legible = 11; // a row that is lower holds no words

  function draw(node, run, data, g, colours) {
    const svg = empty(node, g.width, g.height);
    drawUsed(svg, run, data.phases, g);
    if (g.row >= legible) {
      const rows = svg.append("g").attr("class", "rows").selectAll("g").data(run.pods).join("g")
        .attr("class", "pod").attr("transform", (_, i) => `translate(0 ${g.top + i * g.row})`);
      drawNames(rows, svg, g);
      drawRates(rows, run, g, colours);
    } else {
      drawSummary(svg, run, g);
    }
    drawFailures(svg, run, g);
  }

  function empty(node, width, height) {
    const svg = d3.select(node).selectAll("svg").data([0]).join("svg")
      .attr("viewBox", `0 0 ${width} ${height}`).attr("width", width).attr("height", height).attr("aria-hidden", "true");
    svg.selectAll("*").remove();
    return svg;
  }

  function drawUsed(svg, run, phases, g) {
    const used = svg.append("g").attr("class", "used");
    if (!g.narrow) used.append("text").attr("class", "label").attr("x", g.left - 10).attr("y", 13).text("pods used");
    for (const [i, { used: n, ready }] of run.used.entries()) {
      const wide = g.x(phases[i].to) - g.x(phases[i].from);
      if (wide < 7 * `${n}/${ready}`.length + 3) continue;
      used.append("text").attr("x", g.x(phases[i].from) + 4).attr("y", 13).classed("short", n < ready)
        .text(wide < 86 ? `${n}/${ready}` : `${n} of ${ready} ready`);
    }
  }

  function drawNames(rows, svg, g) {
    const letters = g.narrow ? 5 : 16;
    rows.append("text").attr("class", "name").attr("x", g.left - (g.narrow ? 6 : 10)).attr("y", g.row / 2)
      .text((p) => (p.label.length <= letters ? p.label : g.narrow ? p.label.slice(-letters) : `…${p.label.slice(1 - letters)}`));
    if (g.narrow) return;
    const left = g.width - g.right;
    const most = Math.max(1, ...rows.data().map((p) => p.total));
    svg.append("text").attr("class", "label").attr("x", g.width).attr("y", 13).text("RPCs");
    rows.append("text").attr("class", "total").classed("short", (p) => p.total === 0 && p.ready !== null)
      .attr("x", g.width).attr("y", g.row / 2).text((p) => number(p.total));
    rows.append("rect").attr("class", "bar").attr("x", left + 6).attr("y", 2 * g.pad)
      .attr("width", (p) => (g.right - 46) * (p.total / most)).attr("height", g.row - 4 * g.pad);
  }

  // drawSummary stands for the names of pods whose rows are too low for them.
  function drawSummary(svg, run, g) {
    const unused = run.pods.filter((p) => p.ready !== null && p.total === 0).length;
    const lines = g.narrow ? [run.pods.length, "pods"] : [`${run.pods.length} pods`, unused ? `${unused} of them` : "each of them", unused ? "got no RPC" : "got RPCs"];
    svg.append("g").selectAll("text").data(lines).join("text").attr("class", "label")
      .attr("x", g.left - (g.narrow ? 6 : 10)).attr("y", (_, i) => g.top + 11 + 14 * i).text((line) => line);
  }

  // drawRates says on the map what the colours mean: a rate once for each pod,
  // where there is most room, and that a ready pod got nothing.
  function drawRates(rows, run, g, colours) {
    rows.each(function (pod) {
      const row = d3.select(this);
      const write = (name, x, text) => row.append("text").attr("class", name).attr("x", x).attr("y", g.row / 2).text(text);
      if (pod.killed && pod.ended !== null) write("killed", g.x(Math.max(pod.ended, pod.listed)) + 8, "killed");
      const idle = pod.idle;
      const room = idle ? g.x(idle.to) - g.x(idle.from) : 0;
      if (idle && idle.to - idle.from >= 2 && room >= 74) {
        write("idle", g.x(idle.from) + 5, room >= 130 ? `ready ${Math.round(idle.to - idle.from)} s, no RPC` : "no RPC");
      }
      const best = pod.busy;
      if (!best || g.x(best.to) - g.x(best.from) < 56) return;
      const rate = lives.sum(pod.rpcs, best, run.from, run.bin) / (best.to - best.from);
      // The cross of a kill stands on the end of its pod's cells.
      const end = g.x(best.to) - (pod.killed && Math.abs(best.to - pod.ended) < run.bin * 2 ? 9 : 5);
      write("rate", end, `${palette.rate(rate)}/s`).style("fill", palette.readable(colours.colour(rate)));
    });
  }

  function drawFailures(svg, run, g) {
    const { top, height } = g.strip;
    const text = (name, x, y, words) => svg.append("text").attr("class", name).attr("x", x).attr("y", y).text(words);
    text("label", g.left - (g.narrow ? 6 : 10), top + height - 4, g.narrow ? "failed" : "failed/s");
    if (run.mostFailed === 0) text("quiet", g.left + 4, top + height - 4, "none");
    else if (!g.narrow) text("most", g.width, top + 9, `max ${number(Math.ceil(run.mostFailed))}/s`);
  }

  // drawAxis writes the phases' names and the seconds. A name that runs into the
  // phases after its own stands on a line above theirs. Where that would take many
  // lines, the numbers that the page's list of phases has stand for the names.
  function drawAxis(node, data, g) {
    const svg = empty(node, g.width, 0);
    const names = svg.append("g").attr("class", "phase-names");
    let lines = drawNamesOfPhases(names, data.phases, g);
    if (Math.max(0, ...lines) > (g.narrow ? 1 : 2)) {
      names.selectAll("*").remove();
      lines = drawNumbers(names, data.phases, g);
    }
    const pitch = 16, rows = Math.max(0, ...lines) + 1, height = rows * pitch + 22;
    names.selectAll("text").attr("y", (_, i) => pitch * (rows - lines[i]) - 3);
    svg.attr("viewBox", `0 0 ${g.width} ${height}`).attr("height", height);
    svg.insert("g", ":first-child").attr("class", "phase-lines").selectAll("line").data(data.phases).join("line")
      .attr("x1", (p) => g.x(p.from)).attr("x2", (p) => g.x(p.from)).attr("y1", (_, i) => pitch * (rows - 1 - lines[i]) + 3).attr("y2", height);
    const seconds = d3.axisBottom(g.x).ticks(Math.max(2, Math.round((g.x.range()[1] - g.x.range()[0]) / 90))).tickSize(4).tickFormat((t) => `${t} s`);
    svg.append("g").attr("class", "seconds").attr("transform", `translate(0 ${rows * pitch + 2})`).call(seconds)
      .selectAll("text").attr("text-anchor", (t) => (g.x(t) > g.width - 16 ? "end" : null));
  }

  function drawNamesOfPhases(names, phases, g) {
    const labels = names.selectAll("text").data(phases).join("text").attr("x", (p) => g.x(p.from) + 4);
    labels.append("tspan").attr("class", "title").text((p) => p.name);
    labels.append("tspan").attr("class", "action").attr("dx", 5).text((p) => (p.action && p.action !== p.name ? p.action : ""));
    const lines = [];
    for (const [i, text] of labels.nodes().map((label, i) => [i, label]).reverse()) {
      const from = g.x(phases[i].from) + 4;
      const next = i + 1 < phases.length ? g.x(phases[i + 1].from) : g.width;
      if (from + text.getComputedTextLength() > next) d3.select(text).select(".action").remove();
      const end = from + text.getComputedTextLength() + 6;
      const under = phases.flatMap((p, k) => (k > i && g.x(p.from) < end ? [lines[k]] : []));
      lines[i] = under.length ? Math.max(...under) + 1 : 0;
      // The last name may have no room at all: it then ends where the picture does.
      if (end > g.width) d3.select(text).attr("x", g.width).attr("text-anchor", "end");
    }
    return lines;
  }

  function drawNumbers(names, phases, g) {
    names.selectAll("text").data(phases).join("text").attr("class", "title").attr("x", (p) => g.x(p.from) + 3)
      .text((p, i) => (g.x(p.to) - g.x(p.from) >= 7 * String(i + 1).length + 4 ? i + 1 : ""));
    return phases.map(() => 0);
  }

  return { draw, drawAxis, drawNumbers, empty };
})();
