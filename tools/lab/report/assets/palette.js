// The colours of the pictures. Words and boxes take theirs from the style sheet,
// so that there is one place for each theme.
"use strict";

const palette = (() => {
  // Both ramps run through equal steps of lightness away from the paper, in blues
  // that no kind of colour blindness takes for the red of failures.
  const ramps = {
    light: d3.piecewise(d3.interpolateLab, [d3.hcl(212, 14, 90), d3.hcl(225, 30, 70), d3.hcl(245, 42, 48), d3.hcl(275, 48, 26)]),
    dark: d3.piecewise(d3.interpolateLab, [d3.hcl(262, 30, 27), d3.hcl(245, 38, 47), d3.hcl(222, 36, 68), d3.hcl(218, 20, 91)]),
  };
  const steps = 256;

  // of reads the theme that node is shown in. full is the rate of the strongest
  // colour; the root keeps a pod of many apart from an idle one.
  function of(node, dark, full) {
    const probe = node.appendChild(document.createElement("i"));
    const named = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const inks = Object.fromEntries(["paper", "rule", "ink", "outline", "ready", "fail"].map((name) => [name, named(name)]));
    probe.remove();
    const ramp = dark ? ramps.dark : ramps.light;
    const table = Array.from({ length: steps }, (_, i) => d3.rgb(ramp(i / (steps - 1))));
    const step = (rate) => Math.round(Math.min(1, Math.sqrt(rate / full)) * (steps - 1));
    return { ...inks, full, colour: (rate) => table[step(rate)], ramp };
  }

  // readable is the ink that stands out more from a colour, by the contrast that
  // WCAG defines.
  function readable(colour) {
    const luminance = (c) => {
      const { r, g, b } = d3.rgb(c);
      const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const contrast = (ink) => {
      const [a, b] = [luminance(ink), luminance(colour)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    };
    return contrast("#ffffff") >= contrast("#0b1620") ? "#ffffff" : "#0b1620";
  }

  // drawKey gives the colours their rates; the marks beside them are in the page.
  function drawKey(node, colours) {
    const stops = Array.from({ length: 9 }, (_, i) => colours.ramp(i / 8));
    const ticks = [0.1, 0.4, 1].map((part) => {
      const tick = Object.assign(document.createElement("span"), { textContent: rate(part * colours.full) });
      tick.style.left = `${100 * Math.sqrt(part)}%`;
      return tick;
    });
    node.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    node.replaceChildren(...ticks);
  }

  const rate = (perSecond) => (perSecond < 9.5 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en"));

  return { of, readable, drawKey, rate };
})();
