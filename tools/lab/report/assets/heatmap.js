// A heat map of one run on the scenario's time axis, with the failures below it.
// All that there is for each pod or each bin is painted on one canvas, large or
// small; a figure's words are an SVG over it (words.js).
"use strict";

const heatmap = (() => {
  const rowsMost = 420; // no map is higher, so that each fits a sheet of paper
  const outlined = 2.5; // from this height of a row

  // large is the geometry of a run's own figure, small that of one of many side by
  // side, which all have the same rows.
  function large(run, data, width, most) {
    const narrow = width < 620;
    return geometry(run, data, width, {
      narrow, left: narrow ? 42 : 112, right: narrow ? 4 : 68, top: 20, gap: 8,
      row: Math.min(most, Math.max(7, Math.floor(300 / Math.max(1, run.pods.length))), rowsMost / Math.max(1, run.pods.length)),
      strip: run.mostFailed > 0 ? 30 : 15,
    });
  }

  function small(run, data, width) {
    return geometry(run, data, width, { narrow: true, left: 0, right: 1, top: 0, gap: 3, row: Math.min(12, 104 / data.mostPods), strip: 24, rows: data.mostPods });
  }

  function geometry(run, data, width, { narrow, left, right, top, gap, row, strip, rows = run.pods.length }) {
    const bottom = top + row * rows;
    return {
      width, narrow, left, right, row, top, pad: row < 4 ? 0 : row < 11 ? 0.5 : 1.5,
      x: d3.scaleLinear([data.from, data.to], [left, width - right]),
      strip: { top: bottom + gap, height: strip, most: data.mostFailed },
      height: Math.ceil(bottom + gap + strip + 1),
    };
  }

  // draw paints run on canvas. More pixels than the screen has are for paper.
  function draw(canvas, run, data, g, colours, ratio) {
    canvas.width = Math.round(g.width * ratio);
    canvas.height = Math.round(g.height * ratio);
    const c = canvas.getContext("2d");
    c.scale(canvas.width / g.width, canvas.height / g.height);
    drawPhases(c, data.phases, g, colours);
    drawCells(c, run, g, colours);
    for (const [i, pod] of run.pods.entries()) drawPod(c, pod, g, g.top + i * g.row, colours);
    // The marks of one pod reach into the rows beside it, so they come last.
    for (const [i, pod] of run.pods.entries()) drawMarks(c, pod, g, g.top + i * g.row, colours);
    drawFailures(c, run, g, colours);
  }

  function drawPhases(c, phases, g, colours) {
    c.strokeStyle = colours.outline;
    c.lineWidth = 1;
    c.setLineDash([1, 2.5]);
    for (const phase of phases) line(c, g.x(phase.from), 0, g.x(phase.from), g.height);
    c.setLineDash([]);
  }

  // drawCells paints a pixel for each bin into a picture, which is then stretched
  // row by row without smoothing. More bins than pixels would drop some: their mean
  // is drawn instead.
  function drawCells(c, run, g, colours) {
    // A row too low for an outline is all that shows of a pod without RPCs.
    c.fillStyle = g.row < outlined ? colours.outline : colours.ready;
    c.globalAlpha = g.row < outlined ? 0.35 : 1;
    for (const [i, pod] of run.pods.entries()) if (pod.ready !== null) c.fillRect(...box(pod, g, g.top + i * g.row));
    c.globalAlpha = 1;
    const across = g.x(run.to) - g.x(run.from);
    const stride = Math.max(1, Math.ceil(run.bins / Math.max(1, across * 2)));
    const columns = Math.ceil(run.bins / stride);
    if (columns === 0 || run.pods.length === 0) return;
    const cells = new OffscreenCanvas(columns, run.pods.length);
    const context = cells.getContext("2d");
    const pixels = context.createImageData(columns, run.pods.length);
    for (const [i, pod] of run.pods.entries()) {
      if (pod.total === 0) continue;
      for (let column = 0; column < columns; column++) {
        const end = Math.min(run.bins, (column + 1) * stride);
        let n = 0;
        for (let bin = column * stride; bin < end; bin++) n += pod.rpcs[bin];
        if (n === 0) continue;
        const { r, g: green, b } = colours.colour(n / (end - column * stride) / run.bin);
        pixels.data.set([r, green, b, 255], 4 * (i * columns + column));
      }
    }
    context.putImageData(pixels, 0, 0);
    c.imageSmoothingEnabled = false;
    const from = g.x(run.from), wide = g.x(run.from + columns * stride * run.bin) - from;
    for (const [i, pod] of run.pods.entries()) {
      if (pod.total > 0) c.drawImage(cells, 0, i, columns, 1, from, g.top + i * g.row + g.pad, wide, g.row - 2 * g.pad);
    }
  }

  // box is the time for which a pod was ready.
  function box(pod, g, y) {
    const from = g.x(Math.max(pod.ready, g.x.domain()[0]));
    return [from, y + g.pad, Math.max(0, g.x(pod.listed) - from), g.row - 2 * g.pad];
  }

  function drawPod(c, pod, g, y, colours) {
    if (pod.ready === null || g.row < outlined) return;
    c.strokeStyle = colours.outline;
    c.lineWidth = g.row < 11 ? 0.6 : 1;
    c.strokeRect(...box(pod, g, y));
    if (pod.end <= pod.listed || pod.killed) return;
    c.setLineDash([2, 2]);
    c.strokeRect(g.x(pod.listed), y + g.pad, g.x(pod.end) - g.x(pod.listed), g.row - 2 * g.pad);
    c.setLineDash([]);
  }

  // drawMarks puts a disc on a new pod's first RPC, at the end of its wait, an
  // empty diamond on the last attempt that went to a pod after it was ready, and a
  // cross on a kill: three shapes, so that no mark needs its colour.
  function drawMarks(c, pod, g, y, colours) {
    const size = Math.max(1.3, Math.min(2.8, g.row * 0.23));
    const middle = y + g.row / 2, foot = y + g.row - g.pad;
    const edge = Math.max(0.6, size / 3);
    if (pod.first) {
      c.strokeStyle = c.fillStyle = colours.ink;
      c.lineWidth = edge * 1.4;
      line(c, g.x(pod.ready), foot, g.x(pod.first.at), foot);
      disc(c, g.x(pod.first.at), foot, size, colours.paper, edge);
    }
    if (pod.off) {
      c.strokeStyle = colours.fail;
      c.lineWidth = edge * 1.4;
      line(c, g.x(pod.unready), foot, g.x(pod.off.at), foot);
      diamond(c, g.x(pod.off.at), foot, size * 1.15, colours);
    }
    if (pod.killed && pod.ended !== null) {
      const arm = Math.max(2, Math.min(4.5, g.row / 2)), x = g.x(pod.ended);
      for (const [ink, wide] of [[colours.paper, 4.4], [colours.fail, 2.2]]) {
        c.strokeStyle = ink;
        c.lineWidth = wide * Math.min(1, arm / 3.5);
        line(c, x - arm, middle - arm, x + arm, middle + arm);
        line(c, x - arm, middle + arm, x + arm, middle - arm);
      }
    }
  }

  function disc(c, x, y, radius, halo, edge) {
    c.beginPath();
    c.arc(x, y, radius, 0, 2 * Math.PI);
    c.strokeStyle = halo;
    c.lineWidth = 2 * edge;
    c.stroke();
    c.fill();
  }

  function diamond(c, x, y, arm, colours) {
    c.beginPath();
    for (const [dx, dy] of [[-arm, 0], [0, -arm], [arm, 0], [0, arm]]) c.lineTo(x + dx, y + dy);
    c.closePath();
    c.fillStyle = colours.paper;
    c.fill();
    c.lineWidth = Math.max(0.8, arm / 3);
    c.stroke();
  }

  // drawFailures fills the bars of failures that nothing excuses and hatches the
  // others. One scale holds for all runs; a single failure still shows.
  function drawFailures(c, run, g, colours) {
    const { top, height, most } = g.strip, foot = top + height;
    c.strokeStyle = colours.rule;
    c.lineWidth = 1;
    line(c, g.x.range()[0], foot, g.x.range()[1], foot);
    const plain = new Path2D(), hatched = new Path2D();
    for (const [i, n] of run.failed.entries()) {
      if (n === 0) continue;
      const from = run.from + i * run.bin, x = g.x(from);
      const high = Math.max(2, height * (n / run.bin / most));
      (run.excused(from, from + run.bin) ? hatched : plain).rect(x, foot - high, Math.max(1, g.x(from + run.bin) - x), high);
    }
    c.fillStyle = colours.fail;
    c.fill(plain);
    c.save();
    c.clip(hatched);
    c.globalAlpha = 0.2;
    c.fillRect(0, top, g.width, height);
    c.globalAlpha = 1;
    c.strokeStyle = colours.fail;
    c.lineWidth = 1.1;
    for (let x = -height; x < g.width; x += 4) line(c, x, foot, x + height, top);
    c.restore();
  }

  function line(c, x1, y1, x2, y2) {
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x2, y2);
    c.stroke();
  }

  return { large, small, draw };
})();
