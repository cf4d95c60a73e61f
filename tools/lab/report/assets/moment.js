// A moment of a run as the fragment of a link: #overlay=endpointslice&t=31.5. The
// service is named only where it is not the one that faults were done to.
"use strict";

const moment = (() => {
  function fragment(run, t) {
    const parts = { overlay: run.overlay, ...(run.control && { service: run.service }), ...(t !== null && { t: String(Number(t.toFixed(3))) }) };
    return `#${Object.entries(parts).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
  }

  // read finds the plot that a fragment means, and its time or null.
  function read(text, plots, data) {
    const parts = new URLSearchParams(text.replace(/^#/, ""));
    const service = parts.get("service");
    const plot = plots.find(({ run }) => run.overlay === parts.get("overlay") && (service ? run.service === service : !run.control));
    const t = parts.has("t") ? Number(parts.get("t")) : NaN;
    return plot && { plot, t: t >= data.from && t <= data.to ? t : null };
  }

  // copy puts a link to the moment on the clipboard, and into the address bar for
  // a browser that lets no page at the clipboard.
  async function copy(run, t) {
    const hash = fragment(run, t);
    history.replaceState(null, "", hash);
    try {
      await navigator.clipboard.writeText(new URL(hash, location.href).href);
      return "Link copied";
    } catch {
      return "The link is in the address bar";
    }
  }

  return { fragment, read, copy };
})();
