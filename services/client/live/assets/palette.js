// The colours of the map: the ramps of the lab's report, in nine equal steps of lightness
// away from the paper. Words and boxes take theirs from the style sheet.
"use strict";

const palette = (() => {
  const ramps = {
    light: ["#c3eaf0", "#a2d7e4", "#7ec4d9", "#5ab0cd", "#3699c1", "#0084b6", "#006ca7", "#005597", "#003f88"],
    dark: ["#0f436d", "#0a5783", "#006b9a", "#0380ae", "#2696bd", "#3badcb", "#65c3db", "#91d9ec", "#b8effc"],
  };
  const steps = 256;

  const parse = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const table = (ramp) => Array.from({ length: steps }, (_, i) => {
    const at = (i / (steps - 1)) * (ramp.length - 1), low = Math.min(ramp.length - 2, Math.floor(at));
    const [a, b] = [parse(ramp[low]), parse(ramp[low + 1])];
    return a.map((v, k) => Math.round(v + (b[k] - v) * (at - low)));
  });
  const tables = { light: table(ramps.light), dark: table(ramps.dark) };

  // of reads the theme that the page is shown in. full is the rate of the strongest colour;
  // the root keeps a pod of many apart from an idle one.
  function of(dark, full) {
    const probe = document.body.appendChild(document.createElement("i"));
    const named = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const inks = Object.fromEntries(["paper", "rule", "ink", "muted", "outline", "ready", "fail"].map((name) => [name, named(name)]));
    probe.remove();
    const colours = dark ? tables.dark : tables.light;
    return {
      ...inks, full, ramp: dark ? ramps.dark : ramps.light, failRGB: inks.fail.match(/\d+/g).map(Number),
      colour: (rate) => colours[Math.round(Math.min(1, Math.sqrt(rate / full)) * (steps - 1))],
    };
  }

  // full rounds the highest rate up, so that the colours stay when it changes a little.
  function full(highest) {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, highest)));
    return power * [1, 2, 3, 5, 10].find((n) => n * power >= highest * 0.999);
  }

  function drawKey(node, colours) {
    node.style.background = `linear-gradient(to right, ${colours.ramp.join(", ")})`;
    node.replaceChildren(...[0.1, 0.4, 1].map((part) => {
      const tick = Object.assign(document.createElement("span"), { textContent: rate(part * colours.full) });
      tick.style.left = `${100 * Math.sqrt(part)}%`;
      return tick;
    }));
  }

  const rate = (perSecond) => (perSecond === 0 ? "0" : perSecond < 9.5 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en"));

  return { of, full, drawKey, rate };
})();
