// The scorecard: sorting by any heading, and a strip of failures in each line.
"use strict";

const scorecard = (() => {
  function sortable(table) {
    for (const heading of table.querySelectorAll("thead th[aria-sort]")) {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading));
    }
  }

  function sort(table, heading) {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("thead th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[heading.cellIndex];
      if (heading.cellIndex === 0) return cell.textContent.trim();
      return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
    };
    for (const body of table.tBodies) {
      const rows = [...body.querySelectorAll("tr[data-run]")].map((row, i) => ({ row, i, key: key(row) }));
      rows.sort((a, b) => {
        // What was not measured is last either way; ties keep their order.
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.i - b.i;
        const order = typeof a.key === "string" ? a.key.localeCompare(b.key) : a.key - b.key;
        return (up ? order : -order) || a.i - b.i;
      });
      body.append(...rows.map((r) => r.row));
    }
  }

  // strips draws a bar for each phase: as wide as it is long, as high as the
  // part of its RPCs that failed. The root lets one failure in a thousand show.
  function strips(table, results) {
    const width = 104, height = 22;
    const phases = results.scenario.phases ?? [];
    const total = phases.reduce((sum, p) => sum + p.seconds, 0) || 1;
    const x = d3.scaleLinear([0, total], [0, width]);
    const y = d3.scalePow([0, 1], [0, height - 2]).exponent(0.5);
    for (const cell of table.querySelectorAll("td.strip")) {
      const run = results.runs[cell.dataset.run];
      const bars = [];
      let at = 0;
      for (const [i, phase] of phases.entries()) {
        const { rpcs, failed } = run.phases[i];
        bars.push({ phase, rpcs, failed, from: at, part: rpcs > 0 ? failed / rpcs : 0 });
        at += phase.seconds;
      }
      const words = bars.filter((b) => b.failed > 0).map((b) => `${b.phase.name}: ${b.failed.toLocaleString("en")} of ${b.rpcs.toLocaleString("en")} failed`).join("\n") || "No RPC failed in any phase";
      const svg = d3.select(cell).select("svg").attr("aria-label", words);
      svg.append("title").text(words);
      const bar = svg.selectAll("g").data(bars).join("g").attr("transform", (b) => `translate(${x(b.from)} 0)`);
      const wide = (b) => Math.max(1, x(b.phase.seconds) - 1.5);
      bar.append("rect").attr("class", "base").attr("width", wide).attr("y", height - 1).attr("height", 1);
      bar.filter((b) => b.failed > 0).append("rect").attr("class", (b) => (b.phase.graceful ? "unexcused" : "excused"))
        .attr("width", wide).attr("y", (b) => height - 1 - Math.max(2, y(b.part))).attr("height", (b) => Math.max(2, y(b.part)));
    }
  }

  return { sortable, strips };
})();
