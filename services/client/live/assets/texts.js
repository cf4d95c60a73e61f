// The words beside the maps: figures, what happened, and the table of pods.
"use strict";

const texts = (() => {
  const marks = { added: "▲", removed: "▼", opened: "●", closed: "○", goaway: "◇", broken: "✕", error: "■", control: "┆" };
  const listed = 60; // lines of what happened
  const sum = (events) => events.reduce((n, e) => n + (e.count ?? 0), 0);
  const number = (n) => n.toLocaleString("en");
  const ms = (n) => (n === null ? "–" : n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : number(Math.round(n)));

  // set changes only what is different, so that a reader's place and selection stay.
  const set = (node, text) => node.textContent !== text && (node.textContent = text);

  function show(section, s) {
    const finding = section.querySelector(".finding");
    set(finding, s.finding);
    finding.classList.toggle("failing", s.kind.endsWith("failing"));
    const figures = {
      rps: palette.rate(s.figures.rps), failed: number(s.figures.failed), failedAttempts: number(s.figures.failedAttempts),
      p50: ms(s.figures.p50), p99: ms(s.figures.p99), connections: number(s.figures.connections), state: s.state.toLowerCase().replace("_", " ") || "–",
    };
    for (const node of section.querySelectorAll("[data-figure]")) {
      set(node, figures[node.dataset.figure]);
      node.classList.toggle("alarm", node.dataset.figure.startsWith("failed") && node.textContent !== "0");
    }
    showEvents(section.querySelector(".events"), s);
    showPods(section.querySelector(".pods tbody"), s);
  }

  // showEvents lists the newest first; what happened to many pods within a second is one line.
  function showEvents(list, s) {
    const groups = new Map();
    let last = null; // an error that goes on for seconds is one line, too
    for (const e of [...s.events.values()].sort((a, b) => b.at - a.at || b.id - a.id)) {
      const key = `${Math.floor(e.at / 1000)} ${e.kind} ${e.text ?? ""}`;
      const same = last?.[0].kind === "error" && e.kind === "error" && last[0].text === e.text;
      if (same) last.push(e);
      else if (groups.has(key)) groups.get(key).push(e);
      else if (groups.size < listed) groups.set(key, (last = [e]));
      else break;
    }
    const lines = [...groups.values()].map((events) => {
      const [{ kind, at }] = events;
      return { time: store.clock(at), mark: marks[kind] ?? "", text: sentence(kind, events, s), alarm: kind === "error" || kind === "broken" };
    });
    const shown = JSON.stringify(lines);
    if (list.dataset.shown === shown) return;
    list.dataset.shown = shown;
    const part = (tag, text, kind) => Object.assign(document.createElement(tag), { textContent: text, className: kind });
    list.replaceChildren(...lines.map(({ time, mark, text, alarm }) => {
      const li = document.createElement("li"), ink = alarm ? "alarm" : "";
      const sign = part("span", mark, `mark ${ink}`);
      sign.setAttribute("aria-hidden", "true");
      li.append(part("time", time, ""), sign, part("span", text, ink));
      return li;
    }));
    if (lines.length === 0) list.append(part("li", "Nothing in the last three minutes but requests.", "none"));
  }

  function sentence(kind, events, s) {
    const [{ text = "" }] = events, n = events.length;
    const many = (one, several) => (n === 1 ? one : `${n} ${several}`);
    const names = new Map((s?.lanes ?? []).map((l) => [l.id, l.name]));
    const where = () => {
      const all = [...events].sort((a, b) => a.id - b.id).map((e) => names.get(e.lane) || e.address).filter(Boolean);
      return all.length === 0 ? "" : `: ${all.slice(0, 3).join(", ")}${all.length > 3 ? `, and ${all.length - 3} more` : ""}`;
    };
    switch (kind) {
      case "added": return many("endpoint added", "endpoints added") + where();
      case "removed": return many("endpoint removed", "endpoints removed") + where();
      case "opened": return many("connection opened", "connections opened") + where();
      case "closed": return many("connection closed", "connections closed") + (text ? ` (${text})` : "") + where();
      case "goaway": return many("connection closed after", "connections closed after") + ` ${text}` + where();
      case "broken": return many("connection lost", "connections lost") + (text === "unknown" ? "" : ` (${text})`) + where();
      case "control": return `load changed by hand: ${text}`;
      default: return text.startsWith("name resolution") ? text : `${number(sum(events))} failed${n > 1 ? ` in ${n} s` : ""}: ${text}`;
    }
  }

  function showPods(body, s) {
    while (body.rows.length > s.lanes.length) body.deleteRow(-1);
    // Those that are gone come last.
    const lanes = [...s.lanes].sort((a, b) => b.known - a.known || a.id - b.id);
    lanes.forEach((lane, i) => {
      let row = body.rows[i];
      if (!row) {
        row = body.insertRow();
        row.append(Object.assign(document.createElement("th"), { scope: "row" }), ...Array.from({ length: 6 }, () => document.createElement("td")));
      }
      const words = [lane.name || "–", lane.address, palette.rate(lane.rps), `${Math.round(100 * lane.share)} %`, number(lane.failed),
        lane.state ? lane.state.toLowerCase().replace("_", " ") : "none", lane.shared ? "shared" : lane.known ? "known" : lane.spans ? "gone" : "–"];
      words.forEach((text, k) => set(row.cells[k], text));
      row.classList.toggle("gone", !lane.known && lane.rps === 0);
      row.cells[4].classList.toggle("alarm", lane.failed > 0);
    });
  }

  return { show, sentence };
})();
