// Small maps of all overlays side by side, with the same axes and colours.
"use strict";

const multiples = (() => {
  function draw(plot, data, colours, ratio) {
    heatmap.draw(plot.node.querySelector("canvas"), plot.run, data, plot.g, colours, ratio);
    const { g } = plot;
    const height = 15;
    const phases = words.empty(plot.holder.querySelector(".numbers"), g.width, height);
    words.drawNumbers(phases, data.phases, g);
    phases.selectAll("text").attr("y", 11);
    const seconds = words.empty(plot.holder.querySelector(".seconds"), g.width, height);
    const ticks = g.x.ticks(Math.max(2, Math.round(g.width / 90)));
    seconds.selectAll("text").data(ticks).join("text").attr("x", (t) => g.x(t)).attr("y", 12)
      .attr("text-anchor", (t) => (g.x(t) < 12 ? "start" : g.x(t) > g.width - 16 ? "end" : "middle")).text((t) => `${t} s`);
  }

  return { draw };
})();
