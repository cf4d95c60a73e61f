//go:build browser

package browsertest

import (
	"fmt"
	"strings"
)

// Fits fails the test if the page is wider than its window. Only what stands in a box that scrolls may be.
func (b *Tab) Fits() {
	b.Helper()
	if wide := Value[int64](b, `document.documentElement.scrollWidth`); wide > b.Width {
		b.Errorf("the page is %d wide in a window of %d", wide, b.Width)
	}
	wider := Value[[]string](b, `[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, .said") && e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))`)
	if len(wider) > 0 {
		b.Errorf("at %d these reach out of the window: %q", b.Width, wider)
	}
}

// contrast lists the words whose colour is too near to what is behind them.
const contrast = `(except => {
	const numbers = colour => colour.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z };
	const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
	const poor = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (!e.getClientRects().length || e.matches(except) || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const style = getComputedStyle(e), ink = luminance(numbers(e.closest("svg") ? style.fill : style.color)), paper = luminance(behind(e));
		const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
		if (ratio < 4.5) poor.add(e.tagName + "." + (e.className.baseVal ?? e.className) + " " + ratio.toFixed(2));
	}
	return [...poor] })(%q)`

// StandsOut fails the test if words have less contrast than WCAG 2.2, 1.4.3 (AA), asks for. Words whose ground is on a
// canvas cannot be judged by their style: selectors take them out.
func (b *Tab) StandsOut(except ...string) {
	b.Helper()
	none := strings.Join(append(except, "script", "style"), ", ")
	if poor := Value[[]string](b, fmt.Sprintf(contrast, none)); len(poor) > 0 {
		b.Errorf("%s at %d: too little contrast: %q", b.Scheme, b.Width, poor)
	}
}
