// The map of a run as a table: each pod's life in figures. It is made when somebody
// opens it, since most tables are never looked at.
"use strict";

const pods = (() => {
  const titles = ["pod", "ready, s", "first RPC after, s", "not ready, s", "last attempt after, s", "ended, s", "RPCs"];

  function fill(node, run) {
    if (node.childElementCount > 0 || run.pods.length === 0) return;
    const table = document.createElement("table");
    table.className = "phases";
    table.createCaption().textContent = "Pod by pod: seconds of the scenario, and how long after";
    const head = table.createTHead().insertRow();
    for (const title of titles) head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: title }));
    const body = table.createTBody();
    for (const pod of run.pods) {
      const row = body.insertRow();
      row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: pod.name }));
      for (const text of figures(pod)) row.insertCell().textContent = text;
    }
    node.append(table);
  }

  function figures(pod) {
    const seconds = (s) => (s === null ? "–" : s.toFixed(2));
    const first = pod.first ? seconds(pod.first.after) : pod.ready !== null && pod.ready >= 0 ? "never" : "–";
    const off = pod.off ? seconds(pod.off.after) : pod.unready === null ? "–" : "none";
    const ended = pod.ended === null ? "–" : `${seconds(pod.ended)}${pod.killed ? ", killed" : ""}`;
    return [pod.ready < 0 ? "before 0" : seconds(pod.ready), first, seconds(pod.unready), off, ended, pod.total.toLocaleString("en")];
  }

  return { fill };
})();
