// What the pointer, a finger and the keys show on a map: a second of a pod, in figures.
"use strict";

const inspect = (() => {
  const tip = document.getElementById("tip");

  // on wires a plot; look gives what is drawn on it now: {s, g}.
  function on(node, look) {
    let at = null; // {second, lane}: what is shown
    let byKey = false;
    const hide = () => {
      at = null;
      tip.hidden = true;
      for (const mark of node.querySelectorAll(".cursor, .cell")) mark.hidden = true;
    };
    const point = (event) => {
      const { s, g } = look();
      const place = node.getBoundingClientRect();
      const second = g.second(event.clientX - place.left), row = Math.floor((event.clientY - place.top - g.top) / g.row);
      if (second < g.from || second >= s.edge) return hide();
      at = { second, lane: g.lanes[row]?.id ?? null };
      byKey = false;
      show(event);
    };
    node.addEventListener("pointermove", point);
    node.addEventListener("pointerdown", point);
    node.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && hide());
    node.addEventListener("blur", hide);
    node.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const { s, g } = look();
      const far = event.shiftKey ? 10 : 1;
      const step = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] }[event.key];
      if (!step || g.lanes.length === 0) return;
      event.preventDefault();
      const row = at ? g.lanes.findIndex((l) => l.id === at.lane) : -1;
      const next = at ? row + step[1] : 0;
      const within = (value, least, most) => Math.max(least, Math.min(most, value));
      at = { second: at ? within(at.second + step[0], g.from, s.edge - 1) : s.edge - 1, lane: g.lanes[within(next, 0, g.lanes.length - 1)].id };
      byKey = true;
      show(null);
    });

    function show(pointer) {
      const { s, g } = look();
      const row = g.lanes.findIndex((l) => l.id === at.lane);
      const x = g.x(at.second), wide = g.x(at.second + 1) - x;
      const cursor = node.querySelector(".cursor"), cell = node.querySelector(".cell");
      cursor.hidden = false;
      cursor.style.transform = `translateX(${(x + wide / 2).toFixed(1)}px)`;
      cell.hidden = row < 0;
      cell.style.transform = `translate(${x - 1}px, ${g.top + row * g.row - 1}px)`;
      cell.style.width = `${wide + 2}px`;
      cell.style.height = `${g.row + 2}px`;
      tip.replaceChildren(...figures(s, at.second, g.lanes[row]));
      tip.hidden = false;
      const place = node.getBoundingClientRect(), across = document.documentElement.clientWidth;
      const px = pointer ? pointer.clientX : place.left + x + wide, py = pointer ? pointer.clientY : place.top + g.top + Math.max(0, row + 1) * g.row;
      const left = px + 16 + tip.offsetWidth > across ? px - 16 - tip.offsetWidth : px + 16;
      // A finger hides what is below it.
      const top = pointer?.pointerType === "touch" ? py - tip.offsetHeight - 24 : Math.min(innerHeight - tip.offsetHeight - 4, py + 14);
      tip.style.left = `${Math.max(4, Math.min(across - tip.offsetWidth - 4, left)) + scrollX}px`;
      tip.style.top = `${Math.max(4, top) + scrollY}px`;
    }

    // What the keys chose stays with its second while that moves on; the pointer's moves away under it.
    return () => {
      if (!at) return;
      const { s, g } = look();
      if (byKey && at.second >= g.from && g.lanes.some((l) => l.id === at.lane)) show(null);
      else hide();
    };
  }

  function figures(s, second, lane) {
    const line = (tag, text, kind = "") => Object.assign(document.createElement(tag), { textContent: text, className: kind });
    const column = s.columns.get(second), cell = lane && column?.cells.get(lane.id);
    const lines = [line("b", store.clock(second * 1000))];
    if (lane) {
      lines.push(line("span", lane.name ? `${lane.name}, ${lane.address}` : lane.address));
      lines.push(line("span", `${(cell?.rpcs ?? 0).toLocaleString("en")} RPCs answered`));
      if (cell?.failed) lines.push(line("span", `${cell.failed.toLocaleString("en")} attempts failed`, "fail"));
    } else lines.push(line("span", `${(column?.rpcs ?? 0).toLocaleString("en")} RPCs`));
    if (column?.failed) lines.push(line("span", `${column.failed.toLocaleString("en")} RPCs failed in all`, "fail"));
    for (const e of s.events.values()) {
      if (Math.floor(e.at / 1000) === second && (e.lane ? e.lane === lane?.id : true)) lines.push(line("span", texts.sentence(e.kind, [e])));
    }
    return lines;
  }

  return { on };
})();
