// A heat map for each run, on one time axis. The cells of a pod are a tiny
// picture, one pixel for each bin, that the browser stretches without smoothing:
// tens of thousands of cells cost no more than their rows.
"use strict";

const heatmap = (() => {
  const gutter = { left: 112, right: 68 };
  const band = 20; // for the pods used, above the rows
  const strip = 30; // for the failures, below them
  const number = d3.format(",");

  // Both ramps run through equal steps of lightness away from the paper, in blues
  // that no kind of colour blindness takes for the red of failures.
  const ramps = {
    light: d3.piecewise(d3.interpolateLab, [d3.hcl(212, 14, 90), d3.hcl(225, 30, 70), d3.hcl(245, 42, 48), d3.hcl(275, 48, 26)]),
    dark: d3.piecewise(d3.interpolateLab, [d3.hcl(262, 30, 27), d3.hcl(245, 38, 47), d3.hcl(222, 36, 68), d3.hcl(218, 20, 91)]),
  };

  function scales(data, width, dark) {
    const x = d3.scaleLinear([data.from, data.to], [gutter.left, width - gutter.right]);
    // The square root keeps a pod of many apart from an idle one.
    const strength = d3.scalePow([0, data.full], [0, 1]).exponent(0.5).clamp(true);
    const ramp = dark ? ramps.dark : ramps.light;
    return { x, strength, colour: (rate) => ramp(strength(rate)), width };
  }

  function rowHeight(run) {
    if (run.control) return 14;
    return Math.max(7, Math.min(16, Math.floor(300 / Math.max(1, run.pods.length))));
  }

  function layout(run) {
    const row = rowHeight(run);
    const rows = band + row * run.pods.length;
    const height = run.failed.some((n) => n > 0) ? strip : 15;
    return { row, pad: row < 11 ? 0.5 : 1.5, rows, strip: { top: rows + 8, height }, height: rows + 8 + height + 4 };
  }

  function draw(node, run, data, s) {
    const size = layout(run);
    const svg = d3.select(node).selectAll("svg").data([0]).join("svg")
      .attr("viewBox", `0 0 ${s.width} ${size.height}`).attr("width", s.width).attr("height", size.height).attr("aria-hidden", "true");
    svg.selectAll("*").remove();
    drawPhases(svg, data.phases, s, size);
    drawUsed(svg, run, data.phases, s);
    const rows = svg.append("g").attr("class", size.row < 11 ? "rows small" : "rows").selectAll("g").data(run.pods).join("g")
      .attr("class", "pod").attr("transform", (_, i) => `translate(0 ${band + i * size.row})`);
    drawLives(rows, s, size);
    drawCells(rows, run, s, size);
    drawEnds(rows, s, size);
    if (size.row >= 11) drawWords(rows, run, s, size);
    drawTotals(svg, rows, run, s, size);
    drawFailures(svg, run, data.phases, s, size);
    svg.append("line").attr("class", "cursor").attr("y1", 0).attr("y2", size.height).attr("visibility", "hidden");
    svg.append("rect").attr("class", "focus").attr("visibility", "hidden");
    return size;
  }

  function drawPhases(svg, phases, s, size) {
    svg.append("g").attr("class", "phase-lines").selectAll("line").data(phases).join("line")
      .attr("x1", (p) => s.x(p.from)).attr("x2", (p) => s.x(p.from)).attr("y1", 0).attr("y2", size.height - 4);
  }

  function drawUsed(svg, run, phases, s) {
    const g = svg.append("g").attr("class", "used");
    g.append("text").attr("class", "label").attr("x", gutter.left - 10).attr("y", 13).text("pods used");
    for (const [i, { used, ready }] of run.used.entries()) {
      const wide = s.x(phases[i].to) - s.x(phases[i].from);
      if (wide < 24) continue;
      g.append("text").attr("x", s.x(phases[i].from) + 4).attr("y", 13).classed("short", used < ready)
        .text(wide < 76 ? `${used}/${ready}` : `${used} of ${ready} ready`);
    }
  }

  function drawLives(rows, s, size) {
    const lived = rows.filter((p) => p.ready !== null);
    lived.append("rect").attr("class", "ready")
      .attr("x", (p) => s.x(Math.max(p.ready, s.x.domain()[0]))).attr("width", (p) => Math.max(0, s.x(p.listed) - s.x(Math.max(p.ready, s.x.domain()[0]))))
      .attr("y", size.pad).attr("height", size.row - 2 * size.pad);
    lived.filter((p) => p.end > p.listed && !p.killed).append("rect").attr("class", "draining")
      .attr("x", (p) => s.x(p.listed)).attr("width", (p) => s.x(p.end) - s.x(p.listed)).attr("y", size.pad).attr("height", size.row - 2 * size.pad);
  }

  function drawCells(rows, run, s, size) {
    // More bins than pixels would drop some: their mean is drawn instead.
    const across = s.x(run.to) - s.x(run.from);
    const stride = Math.max(1, Math.ceil(run.bins / Math.max(1, across)));
    const columns = Math.ceil(run.bins / stride);
    if (columns === 0) return;
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const paint = (pod) => {
      context.clearRect(0, 0, columns, 1);
      for (let c = 0; c < columns; c++) {
        const bins = pod.rpcs.slice(c * stride, (c + 1) * stride);
        const rate = bins.reduce((a, b) => a + b, 0) / bins.length / run.bin;
        if (rate === 0) continue;
        context.fillStyle = s.colour(rate);
        context.fillRect(c, 0, 1, 1);
      }
      return canvas.toDataURL();
    };
    rows.filter((p) => p.total > 0).append("image").attr("preserveAspectRatio", "none")
      .attr("x", s.x(run.from)).attr("width", s.x(run.from + columns * stride * run.bin) - s.x(run.from))
      .attr("y", size.pad).attr("height", size.row - 2 * size.pad).attr("href", paint);
    rows.filter((p) => p.ready !== null).append("rect").attr("class", "outline")
      .attr("x", (p) => s.x(Math.max(p.ready, s.x.domain()[0]))).attr("width", (p) => Math.max(0, s.x(p.listed) - s.x(Math.max(p.ready, s.x.domain()[0]))))
      .attr("y", size.pad).attr("height", size.row - 2 * size.pad);
  }

  function drawEnds(rows, s, size) {
    const killed = rows.filter((p) => p.killed && p.ended !== null);
    const arm = Math.min(4.5, size.row / 2);
    killed.append("path").attr("class", "killed")
      .attr("d", (p) => `M${s.x(p.ended) - arm},${size.row / 2 - arm}l${2 * arm},${2 * arm}m0,${-2 * arm}l${-2 * arm},${2 * arm}`);
    if (size.row < 11) return;
    killed.append("text").attr("class", "killed").attr("x", (p) => s.x(Math.max(p.ended, p.listed)) + 8).attr("y", size.row / 2).text("killed");
  }

  // drawWords says on the map what the colours mean: a rate once for each pod,
  // where there is most room, and that a ready pod got nothing.
  function drawWords(rows, run, s, size) {
    rows.each(function (pod) {
      const idle = pod.idle;
      const idleWidth = idle ? s.x(idle.to) - s.x(idle.from) : 0;
      if (idle && idle.to - idle.from >= 2 && idleWidth >= 74) {
        const seconds = Math.round(idle.to - idle.from);
        d3.select(this).append("text").attr("class", "idle").attr("x", s.x(idle.from) + 5).attr("y", size.row / 2)
          .text(idleWidth >= 130 ? `ready ${seconds} s, no RPC` : "no RPC");
      }
      const best = pod.busy;
      if (!best || s.x(best.to) - s.x(best.from) < 46) return;
      const rate = lives.sum(pod.rpcs, best, run.from, run.bin) / (best.to - best.from);
      // The cross of a kill stands on the end of its pod's cells.
      const room = pod.killed && Math.abs(best.to - pod.ended) < run.bin * 2 ? 9 : 5;
      d3.select(this).append("text").attr("class", "rate").style("fill", readable(s.colour(rate))).attr("x", s.x(best.to) - room).attr("y", size.row / 2)
        .text(`${rate < 9.5 ? rate.toFixed(1) : Math.round(rate)}/s`);
    });
  }

  // readable is the ink that stands out more from a colour, by the contrast that
  // WCAG defines.
  function readable(colour) {
    const luminance = (c) => {
      const { r, g, b } = d3.rgb(c);
      const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const contrast = (ink) => {
      const [a, b] = [luminance(ink), luminance(colour)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    };
    return contrast("#ffffff") >= contrast("#0b1620") ? "#ffffff" : "#0b1620";
  }

  function drawTotals(svg, rows, run, s, size) {
    const left = s.width - gutter.right;
    svg.append("text").attr("class", "label").attr("x", s.width).attr("y", 13).text("RPCs");
    if (size.row < 11) {
      const unused = run.pods.filter((p) => p.ready !== null && p.total === 0).length;
      const lines = [`${run.pods.length} pods`, unused ? `${unused} of them` : "each of them", unused ? "got no RPC" : "got RPCs"];
      svg.append("g").selectAll("text").data(lines).join("text").attr("class", "label")
        .attr("x", gutter.left - 10).attr("y", (_, i) => band + 11 + 14 * i).text((line) => line);
    } else {
      rows.append("text").attr("class", "name").attr("x", gutter.left - 10).attr("y", size.row / 2)
        .text((p) => (p.label.length > 16 ? `…${p.label.slice(-15)}` : p.label));
      rows.append("text").attr("class", "total").classed("short", (p) => p.total === 0 && p.ready !== null)
        .attr("x", s.width).attr("y", size.row / 2).text((p) => number(p.total));
    }
    const most = Math.max(1, ...run.pods.map((p) => p.total));
    rows.append("rect").attr("class", "bar").attr("x", left + 6).attr("y", 2 * size.pad)
      .attr("width", (p) => (gutter.right - (size.row < 11 ? 6 : 46)) * (p.total / most)).attr("height", size.row - 4 * size.pad);
  }

  function drawFailures(svg, run, phases, s, size) {
    const { top, height } = size.strip;
    const g = svg.append("g").attr("class", "failures").attr("transform", `translate(0 ${top})`);
    const most = run.failed.reduce((a, b) => Math.max(a, b), 0);
    g.append("line").attr("x1", s.x.range()[0]).attr("x2", s.x.range()[1]).attr("y1", height).attr("y2", height);
    g.append("text").attr("class", "label").attr("x", gutter.left - 10).attr("y", height - 4).text("failed/s");
    if (most === 0) {
      g.append("text").attr("class", "quiet").attr("x", gutter.left + 4).attr("y", height - 4).text("none");
      return;
    }
    const y = d3.scaleLinear([0, most], [0, height]);
    const paths = { unexcused: "", excused: "" };
    const excused = (t) => phases.some((p) => !p.graceful && t >= p.from && t < p.to);
    for (const [i, n] of run.failed.entries()) {
      if (n === 0) continue;
      const from = run.from + i * run.bin;
      const x = s.x(from), wide = Math.max(1, s.x(from + run.bin) - x);
      paths[excused(from + run.bin / 2) ? "excused" : "unexcused"] += `M${x.toFixed(1)},${height}v${(-Math.max(1, y(n))).toFixed(1)}h${wide.toFixed(1)}V${height}z`;
    }
    for (const [kind, d] of Object.entries(paths)) g.append("path").attr("class", kind).attr("d", d);
    g.append("text").attr("class", "most").attr("x", s.width).attr("y", 9).text(`max ${number(Math.round(most / run.bin))}/s`);
  }

  // drawAxis writes the phases' names and the seconds. A name that runs into the
  // phases after its own stands on a line above theirs, so that no name lies
  // across another's mark.
  function drawAxis(node, data, s) {
    const svg = d3.select(node).selectAll("svg").data([0]).join("svg");
    svg.selectAll("*").remove();
    const { phases } = data;
    const labels = svg.append("g").attr("class", "phase-names").selectAll("text").data(phases).join("text").attr("x", (p) => s.x(p.from) + 4);
    labels.append("tspan").attr("class", "title").text((p) => p.name);
    labels.append("tspan").attr("class", "action").attr("dx", 5).text((p) => (p.action && p.action !== p.name ? p.action : ""));
    const lines = [];
    for (const [i, text] of labels.nodes().map((node, i) => [i, node]).reverse()) {
      const from = s.x(phases[i].from) + 4;
      const next = i + 1 < phases.length ? s.x(phases[i + 1].from) : s.width;
      if (from + text.getComputedTextLength() > next) d3.select(text).select(".action").remove();
      const end = from + text.getComputedTextLength() + 6;
      const under = phases.flatMap((p, k) => (k > i && s.x(p.from) < end ? [lines[k]] : []));
      lines[i] = under.length ? Math.max(...under) + 1 : 0;
      // The last name may have no room at all: it then ends where the picture does.
      if (end > s.width) d3.select(text).attr("x", s.width).attr("text-anchor", "end");
    }
    const pitch = 16, rows = Math.max(0, ...lines) + 1;
    labels.attr("y", (_, i) => pitch * (rows - lines[i]) - 3);
    const height = rows * pitch + 22;
    svg.attr("viewBox", `0 0 ${s.width} ${height}`).attr("width", s.width).attr("height", height);
    svg.insert("g", ":first-child").attr("class", "phase-lines").selectAll("line").data(phases).join("line")
      .attr("x1", (p) => s.x(p.from)).attr("x2", (p) => s.x(p.from)).attr("y1", (_, i) => pitch * (rows - 1 - lines[i]) + 3).attr("y2", height);
    const seconds = d3.axisBottom(s.x).ticks(Math.max(2, Math.round((s.x.range()[1] - s.x.range()[0]) / 90))).tickSize(4).tickFormat((t) => `${t} s`);
    svg.append("g").attr("class", "seconds").attr("transform", `translate(0 ${rows * pitch + 2})`).call(seconds);
    svg.append("line").attr("class", "cursor").attr("y1", 0).attr("y2", height).attr("visibility", "hidden");
  }

  // drawKey shows the colours and the marks.
  function drawKey(node, data, dark) {
    const s = scales(data, 1000, dark);
    const wide = 150;
    const svg = d3.select(node).selectAll("svg").data([0]).join("svg").attr("width", 820).attr("height", 34).attr("viewBox", "0 0 820 34")
      .attr("role", "img").attr("aria-label", "Key: colour from 0 to the highest rate; ready without RPCs; draining; killed; failed");
    svg.selectAll("*").remove();
    const steps = d3.scalePow([0, data.full], [0, wide]).exponent(0.5);
    for (let i = 0; i < wide; i++) svg.append("rect").attr("x", i).attr("width", 1.5).attr("height", 11).attr("fill", s.colour(steps.invert(i + 0.5)));
    const ticks = [0.1, 0.4, 1].map((part) => Math.round(part * data.full));
    svg.selectAll("text.tick").data(ticks).join("text").attr("class", "tick").attr("x", (t) => steps(t)).attr("y", 25)
      .attr("text-anchor", "middle").text((t) => t);
    svg.append("text").attr("x", wide + 6).attr("y", 9.5).text("RPC/s");
    const marks = [["ready", 218, "ready, no RPC"], ["draining", 346, "draining"], ["killed", 444, "killed"], ["unexcused", 522, "failed"], ["excused", 602, "failed in a phase that excuses it"]];
    for (const [kind, x, words] of marks) {
      if (kind === "killed") svg.append("path").attr("class", "killed").attr("d", `M${x + 6},1l9,9m0,-9l-9,9`);
      else svg.append("rect").attr("class", kind === "ready" ? "ready outline" : kind).attr("x", x + 0.5).attr("y", 0.5).attr("width", 20).attr("height", 10);
      svg.append("text").attr("x", x + 27).attr("y", 9.5).text(words);
    }
  }

  return { scales, draw, drawAxis, drawKey, gutter, band };
})();
