// What the maps draw, worked out from the record: times as seconds since the
// scenario began, and each pod's life.
"use strict";

const lives = (() => {
  function read(results) {
    const phases = results.scenario.phases ?? [];
    const runs = results.runs ?? [];
    const origin = Date.parse(phases[0]?.startedAt ?? runs[0]?.timeline.startedAt ?? results.startedAt);
    const since = (time) => (time ? (Date.parse(time) - origin) / 1000 : null);
    const scenario = phases.map((p) => ({ ...p, from: since(p.startedAt), to: since(p.startedAt) + p.seconds }));
    const read = runs.map((r) => run(r, scenario, since));
    return {
      phases: scenario,
      runs: read,
      from: Math.min(0, ...read.map((r) => r.from)),
      to: Math.max(1, ...scenario.map((p) => p.to), ...read.map((r) => r.to)),
      full: full(read),
      mostPods: Math.max(1, ...read.map((r) => (r.control ? 0 : r.pods.length))),
      mostFailed: Math.max(0, ...read.map((r) => r.mostFailed)),
    };
  }

  function run(r, scenario, since) {
    const { binSeconds: bin, rpcs, failed } = r.timeline;
    const bins = rpcs?.length ?? 0;
    const from = bins ? since(r.timeline.startedAt) : 0;
    const to = from + bins * bin;
    const pods = (r.timeline.pods ?? []).map((p) => pod(p, scenario, since, from, to, bin));
    wait(pods, r, since);
    shorten(pods);
    return {
      overlay: r.overlay, service: r.service, control: r.control,
      bins, bin, from, to, pods, rpcs: rpcs ?? [], failed: failed ?? [],
      mostFailed: (failed ?? []).reduce((most, n) => Math.max(most, n), 0) / (bin || 1),
      excused: excused(r.phases ?? [], scenario),
      used: scenario.map((phase) => used(phase, pods, from, bin)),
    };
  }

  function pod(p, scenario, since, from, to, bin) {
    const ready = since(p.readyAt), unready = since(p.unreadyAt), ended = since(p.endedAt);
    const listed = Math.min(unready ?? ended ?? to, to);
    const total = p.rpcs.reduce((sum, n) => sum + n, 0);
    return {
      name: p.name, label: p.name, rpcs: p.rpcs, total, ready, unready, ended, listed,
      end: Math.min(Math.max(listed, ended ?? unready ?? listed), to),
      killed: p.endReason === "killed", first: null, off: null,
      idle: ready === null ? null : idle(p.rpcs, Math.max(ready, from), listed, from, bin),
      busy: busy(p.rpcs, scenario, from, bin),
    };
  }

  // wait adds when a new pod was sent its first attempt, and when a pod that was
  // no longer ready was sent its last: both stand in the phases.
  function wait(pods, run, since) {
    const byName = new Map(pods.map((p) => [p.name, p]));
    for (const seen of (run.phases ?? []).flatMap((phase) => phase.pods ?? [])) {
      const pod = byName.get(seen.name);
      if (!pod) continue;
      if (seen.firstRpcSeconds !== null) pod.first = { after: seen.firstRpcSeconds, at: since(seen.readyAt) + seen.firstRpcSeconds };
      if (seen.offSeconds > 0) pod.off = { after: seen.offSeconds, at: since(seen.unreadyAt) + seen.offSeconds };
    }
  }

  // busy finds the longest time within one phase for which a pod answered RPCs
  // with no second between them.
  function busy(rpcs, scenario, from, bin) {
    let longest = null, first = null, last = null, within = null;
    for (let i = 0; i < rpcs.length; i++) {
      if (rpcs[i] === 0) continue;
      const at = from + (i + 0.5) * bin;
      const phase = scenario.findLastIndex((p) => p.from <= at);
      if (first === null || phase !== within || (i - last) * bin > 1) first = i;
      [last, within] = [i, phase];
      if (!longest || last - first > longest.last - longest.first) longest = { first, last };
    }
    return longest && { from: from + longest.first * bin, to: from + (longest.last + 1) * bin };
  }

  // idle finds the longest time for which a ready pod answered nothing.
  function idle(rpcs, ready, listed, from, bin) {
    let longest = { from: ready, to: ready };
    let since = ready;
    const close = (until) => {
      if (until - since > longest.to - longest.from) longest = { from: since, to: until };
    };
    const first = Math.max(0, Math.floor((ready - from) / bin));
    for (let i = first; i < rpcs.length && from + i * bin < listed; i++) {
      if (rpcs[i] === 0) continue;
      close(from + i * bin);
      since = from + (i + 1) * bin;
    }
    close(listed);
    return longest.to > longest.from ? longest : null;
  }

  // excused tells of the failures between two times whether their phase excuses
  // them. A time may lie in two phases: then only one of them may have any.
  function excused(measured, scenario) {
    const phases = scenario.map((p, i) => ({ ...p, failed: measured[i]?.failed ?? 0 }));
    return (from, to) => {
      const over = phases.filter((p) => p.from < to && p.to > from);
      const failed = over.filter((p) => p.failed > 0);
      const middle = over.findLast((p) => p.from <= (from + to) / 2) ?? over[0];
      return !(failed.length === 1 ? failed[0] : middle)?.graceful && over.length > 0;
    };
  }

  // used counts the pods that are ready as a phase ends, and those of them that
  // answered an RPC in it.
  function used(phase, pods, from, bin) {
    const ready = pods.filter((p) => p.ready !== null && p.ready < phase.to && p.listed >= phase.to - bin);
    const answered = ready.filter((p) => sum(p.rpcs, phase, from, bin) > 0);
    return { used: answered.length, ready: ready.length };
  }

  function sum(counts, { from: start, to: end }, from, bin) {
    let n = 0;
    for (let i = Math.max(0, Math.round((start - from) / bin)); i < counts.length && from + i * bin < end - bin / 2; i++) n += counts[i];
    return n;
  }

  // shorten leaves out what all names of a run begin with.
  function shorten(pods) {
    if (pods.length < 2) return;
    let prefix = pods[0].name;
    for (const p of pods) while (!p.name.startsWith(prefix)) prefix = prefix.slice(0, -1);
    const cut = prefix.lastIndexOf("-") + 1;
    for (const p of pods) p.label = p.name.slice(cut);
  }

  // full is the rate of the strongest colour: nearly the highest there is, so
  // that one burst after an outage does not bleach all the rest.
  function full(runs) {
    const rates = [];
    for (const r of runs) for (const p of r.pods) for (const n of p.rpcs) if (n > 0) rates.push(n / r.bin);
    rates.sort((a, b) => a - b);
    return rates.length ? rates[Math.floor(0.995 * (rates.length - 1))] : 1;
  }

  return { read, sum };
})();
