// The picture of one service: a row for each pod, a column for each second, failed RPCs
// below. All of it is painted at once, so nothing flickers.
"use strict";

const map = (() => {
  const rowsMost = 430, outlined = 3, legible = 11;

  function geometry(s, width) {
    const narrow = width < 620;
    // A page that has just been opened on a new client is not empty for the most part.
    const age = s.edge - Math.min(s.edge, ...s.columns.keys());
    const seconds = (narrow ? [30, 90] : [30, 60, 120, store.kept]).find((n, i, all) => n >= age || i === all.length - 1);
    const from = s.edge - seconds;
    const lanes = s.lanes.filter((l) => l.known || l.seen >= from);
    const rows = Math.max(1, lanes.length);
    const row = Math.max(2, Math.min(26, Math.floor((2 * rowsMost) / rows) / 2));
    const [left, right, top] = [narrow ? 58 : 168, narrow ? 38 : 104, 20];
    let mostFailed = 0;
    for (const c of s.columns.values()) mostFailed = Math.max(mostFailed, c.failed);
    const strip = { top: top + row * rows + 8, height: mostFailed ? 30 : 14, most: mostFailed };
    return {
      width, narrow, lanes, seconds, from, row, left, right, top, strip, pad: row < 4 ? 0 : row < legible ? 0.5 : 1.5,
      height: Math.ceil(strip.top + strip.height + 2),
      x: (second) => left + ((second - from) / seconds) * (width - left - right),
      second: (x) => Math.floor(from + ((x - left) / (width - left - right)) * seconds),
    };
  }

  function draw(canvas, s, g, colours) {
    const ratio = Math.max(1, devicePixelRatio);
    const [wide, high] = [Math.round(g.width * ratio), Math.round(g.height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) {
      Object.assign(canvas, { width: wide, height: high });
      canvas.style.height = `${g.height}px`;
    }
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, g.width, g.height);
    drawTimes(c, s, g, colours);
    drawSpans(c, s, g, colours);
    drawCells(c, s, g, colours);
    drawFailures(c, s, g, colours);
    drawMarks(c, s, g, colours);
    if (g.row >= legible) g.lanes.forEach((lane, i) => drawWords(c, lane, g, g.top + (i + 0.5) * g.row, colours));
    else drawSummary(c, s, g, colours);
  }

  const font = (size, more = "") => `${more} ${size}px ${getComputedStyle(document.body).fontFamily}`;

  function write(c, text, x, y, { ink, align = "left", as }) {
    c.font = as;
    c.fillStyle = ink;
    c.textAlign = align;
    c.textBaseline = "middle";
    c.fillText(text, x, y);
  }

  function drawTimes(c, s, g, colours) {
    const step = g.seconds > 60 ? 30 : 10;
    c.lineWidth = 1;
    for (let t = Math.ceil(g.from / step) * step; t <= s.edge; t += step) {
      const x = Math.round(g.x(t)) + 0.5;
      c.strokeStyle = colours.rule;
      line(c, x, 14, x, g.height);
      const [, m, sec] = store.clock(t * 1000).split(":");
      const end = g.width - g.right - x < 56;
      if (!end) write(c, g.narrow ? `${m}:${sec}` : store.clock(t * 1000), x, 7, { ink: colours.muted, align: x - g.left < 20 ? "left" : "center", as: font(10.5) });
    }
    write(c, "now", g.width - g.right, 7, { ink: colours.ink, align: "right", as: font(10.5, "600") });
  }

  // drawSpans outlines the time for which name resolution had an endpoint. Where several pods share
  // an address, that says nothing of any of them.
  function drawSpans(c, s, g, colours) {
    c.lineWidth = g.row < legible ? 0.6 : 1;
    g.lanes.forEach((lane, i) => {
      if (lane.shared) return;
      for (const span of lane.spans ?? []) {
        const from = Math.max(g.from, span.from / 1000), to = Math.min(s.edge, span.to ? span.to / 1000 : s.edge);
        if (to <= from) continue;
        const box = [g.x(from), g.top + i * g.row + g.pad, g.x(to) - g.x(from), g.row - 2 * g.pad];
        c.fillStyle = colours.ready;
        c.strokeStyle = colours.outline;
        c.fillRect(...box);
        if (g.row >= outlined) c.strokeRect(...box);
      }
    });
  }

  // drawCells paints a pixel for each second into a picture, which is stretched row by row
  // without smoothing.
  function drawCells(c, s, g, colours) {
    const rows = new Map(g.lanes.map((lane, i) => [lane.id, i]));
    if (rows.size === 0) return;
    const cells = new OffscreenCanvas(g.seconds, rows.size);
    const context = cells.getContext("2d");
    const pixels = context.createImageData(g.seconds, rows.size);
    const failed = [];
    for (const [second, column] of s.columns) {
      if (second < g.from || second >= s.complete) continue;
      for (const [id, cell] of column.cells) {
        const row = rows.get(id);
        if (row === undefined) continue;
        if (cell.rpcs > 0) pixels.data.set([...colours.colour(cell.rpcs), 255], 4 * (row * g.seconds + second - g.from));
        if (cell.failed > 0) failed.push([second, row, cell.failed / (cell.failed + cell.rpcs)]);
      }
    }
    context.putImageData(pixels, 0, 0);
    c.imageSmoothingEnabled = false;
    const high = g.row - 2 * g.pad;
    for (let i = 0; i < rows.size; i++) c.drawImage(cells, 0, i, g.seconds, 1, g.left, g.top + i * g.row + g.pad, g.width - g.left - g.right, high);
    c.fillStyle = colours.fail;
    for (const [second, row, part] of failed) {
      const red = Math.max(Math.min(high, 4), high * part);
      c.fillRect(g.x(second), g.top + row * g.row + g.pad + high - red, Math.max(1.5, g.x(second + 1) - g.x(second)), red);
    }
  }

  function drawFailures(c, s, g, colours) {
    const { top, height, most } = g.strip, foot = top + height;
    c.strokeStyle = colours.rule;
    c.lineWidth = 1;
    line(c, g.left, foot + 0.5, g.width - g.right, foot + 0.5);
    write(c, "failed/s", g.left - 10, foot - 6, { ink: colours.muted, align: "right", as: font(10.5) });
    if (most === 0) {
      write(c, "none", g.left + 4, foot - 6, { ink: colours.muted, as: font(10.5) });
      return;
    }
    c.fillStyle = colours.fail;
    for (const [second, { failed }] of s.columns) {
      if (failed === 0 || second < g.from || second >= s.edge) continue;
      const high = Math.max(2, height * (failed / most));
      c.fillRect(g.x(second), foot - high, Math.max(1.5, g.x(second + 1) - g.x(second)), high);
    }
    const words = g.narrow ? `${most.toLocaleString("en")}/s` : `max ${most.toLocaleString("en")}`;
    write(c, words, g.narrow ? g.width : g.width - g.right + 6, top + 6, { ink: colours.fail, align: g.narrow ? "right" : "left", as: font(10.5, "600") });
  }

  // drawMarks: endpoints in the upper half of a row, connections in the lower; a shape for each
  // kind, so that no mark needs its colour.
  function drawMarks(c, s, g, colours) {
    const rows = new Map(g.lanes.map((lane, i) => [lane.id, i]));
    const size = Math.max(1.3, Math.min(4, g.row * 0.17));
    for (const e of s.events.values()) {
      const t = e.at / 1000;
      if (t < g.from || t > s.edge) continue;
      const x = g.x(t);
      if (e.kind === "control") {
        c.strokeStyle = colours.ink;
        c.lineWidth = 1;
        c.setLineDash([3, 2]);
        line(c, x, 14, x, g.height);
        c.setLineDash([]);
      }
      const row = rows.get(e.lane);
      if (row === undefined) continue;
      const foot = g.top + (row + (g.row < legible ? 0.5 : 0.7)) * g.row, head = g.top + (row + 0.3) * g.row;
      c.fillStyle = c.strokeStyle = colours.ink;
      if (e.kind === "added" || e.kind === "removed") {
        if (g.row >= legible) shape(c, triangle(x, head, size, e.kind === "added" ? -1 : 1), colours, true);
      } else if (e.kind === "opened" || e.kind === "closed") shape(c, disc(x, foot, size), colours, e.kind === "opened");
      else if (e.kind === "goaway") shape(c, diamond(x, foot, size * 1.25), colours, false);
      else if (e.kind === "broken") cross(c, x, foot, size, colours);
    }
  }

  // shape is solid with a rim of paper, or hollow with one of ink.
  function shape(c, path, colours, solid) {
    c.lineWidth = 1.6;
    c.fillStyle = solid ? colours.ink : colours.paper;
    c.strokeStyle = solid ? colours.paper : colours.ink;
    if (solid) c.stroke(path);
    c.fill(path);
    if (!solid) c.stroke(path);
  }

  function path(points) {
    const p = new Path2D();
    points.forEach(([x, y], i) => (i ? p.lineTo(x, y) : p.moveTo(x, y)));
    p.closePath();
    return p;
  }
  const triangle = (x, y, r, tip) => path([[x, y + tip * r], [x + r, y - tip * r * 0.8], [x - r, y - tip * r * 0.8]]);
  const diamond = (x, y, r) => path([[x - r, y], [x, y - r], [x + r, y], [x, y + r]]);
  function disc(x, y, r) {
    const p = new Path2D();
    p.arc(x, y, r, 0, 2 * Math.PI);
    return p;
  }
  function cross(c, x, y, r, colours) {
    for (const [ink, wide] of [[colours.paper, 4], [colours.fail, 2]]) {
      c.strokeStyle = ink;
      c.lineWidth = wide;
      line(c, x - r, y - r, x + r, y + r);
      line(c, x - r, y + r, x + r, y - r);
    }
  }

  // drawWords: the pod's name and the state of its connection before the row, what it gets after it.
  function drawWords(c, lane, g, y, colours) {
    const gone = !lane.known && lane.rps === 0;
    const letters = g.narrow ? 6 : 20, ink = gone ? colours.muted : colours.ink;
    const text = lane.label.length <= letters ? lane.label : g.narrow ? lane.label.slice(-letters) : `…${lane.label.slice(1 - letters)}`;
    write(c, text, g.left - 18, y, { ink, align: "right", as: `10.5px ${getComputedStyle(document.documentElement).getPropertyValue("--mono")}` });
    const dot = [g.left - 9, y, 3];
    if (lane.state === "TRANSIENT_FAILURE") cross(c, ...dot, colours);
    else if (lane.state) shape(c, disc(...dot), colours, lane.state === "READY");
    const x = g.width - g.right + 6;
    write(c, palette.rate(lane.rps), g.narrow ? g.width : x + 38, y, { ink, align: "right", as: font(10.5, lane.rps ? "600" : "") });
    if (g.narrow) return;
    c.fillStyle = colours.outline;
    c.globalAlpha = 0.55;
    c.fillRect(x + 46, y - g.row / 4, Math.max(lane.share ? 1 : 0, 52 * lane.share), g.row / 2);
    c.globalAlpha = 1;
  }

  // drawSummary stands for the words of rows that are too low for them.
  function drawSummary(c, s, g, colours) {
    const known = s.lanes.filter((l) => l.known), idle = known.filter((l) => l.rps === 0).length;
    const lines = g.narrow ? [String(g.lanes.length), "rows"]
      : [`${g.lanes.length} rows`, `${known.length} endpoints known`, idle ? `${idle} of them get no RPC` : "each of them gets RPCs"];
    lines.forEach((text, i) => write(c, text, g.left - 10, g.top + 8 + 14 * i, { ink: i ? colours.muted : colours.ink, align: "right", as: font(10.5) }));
  }

  function line(c, x1, y1, x2, y2) {
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x2, y2);
    c.stroke();
  }

  return { geometry, draw };
})();
