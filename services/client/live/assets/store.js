// What the page has been told: each update replaces what has the same number.
"use strict";

const store = (() => {
  const kept = 180; // seconds, as at the server
  const services = new Map();

  function take(update) {
    if (update.reset) services.clear();
    for (const news of update.services) {
      const s = services.get(news.service) ?? { columns: new Map(), events: new Map() };
      services.set(news.service, s);
      const { columns, events, ...now } = news;
      Object.assign(s, now);
      for (const c of columns) {
        const cells = new Map();
        for (let i = 0; i < (c.cells?.length ?? 0); i += 3) cells.set(c.cells[i], { rpcs: c.cells[i + 1], failed: c.cells[i + 2] });
        s.columns.set(c.s, { rpcs: c.rpcs, failed: c.failed ?? 0, cells });
      }
      for (const e of events) s.events.set(e.id, e);
      // A second is shown once it is whole. When RPCs hang, time goes on all the same.
      s.edge = Math.max(s.complete, Math.floor(update.now / 1000) - 3);
      for (const second of s.columns.keys()) if (second < s.edge - kept) s.columns.delete(second);
      for (const [id, e] of s.events) if (e.at < (s.edge - kept) * 1000) s.events.delete(id);
      see(s);
      label(s.lanes);
    }
    return services;
  }

  // see finds the last second in which there was anything to show of a lane.
  function see(s) {
    const lanes = new Map(s.lanes.map((l) => [l.id, l]));
    for (const l of s.lanes) l.seen = Math.max(0, ...(l.spans ?? []).map((span) => (span.to ?? 0) / 1000));
    for (const [second, { cells }] of s.columns) for (const id of cells.keys()) if (lanes.get(id)?.seen < second) lanes.get(id).seen = second;
  }

  // label leaves out what all names begin with.
  function label(lanes) {
    const named = lanes.filter((l) => l.name);
    let prefix = named.length > 1 ? named[0].name : "";
    for (const l of named) while (!l.name.startsWith(prefix)) prefix = prefix.slice(0, -1);
    const cut = prefix.lastIndexOf("-") + 1;
    for (const l of lanes) l.label = l.name ? l.name.slice(cut) : l.address;
  }

  const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

  return { take, clock, kept };
})();
