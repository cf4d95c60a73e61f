//go:build browser

package report

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestThePageFitsItsWindowAndStaysWhereItIs(t *testing.T) {
	for _, width := range []int64{390, 900, 1280, 1800} {
		b := open(t, sample(), width, "light")
		shift := value[float64](b, `new Promise(done => { let sum = 0;
			new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value }).observe({type: "layout-shift", buffered: true});
			requestAnimationFrame(() => setTimeout(() => done(sum), 50)) })`)
		if shift > 0.01 {
			t.Errorf("at %d the page moves while it loads: layout shift %.3f", width, shift)
		}
		b.unfold()
		b.Fits()
		overlaps := value[[]string](b, `[...document.querySelectorAll(".phase-names")].flatMap(names => {
			const boxes = [...names.querySelectorAll("text")].filter(t => t.textContent).map(t => [t.textContent, t.getBoundingClientRect()]);
			return boxes.flatMap(([a, x], i) => boxes.slice(i + 1).filter(([, y]) => x.left < y.right && y.left < x.right && x.top < y.bottom - 2 && y.top < x.bottom - 2).map(([b]) => a + " / " + b)) })`)
		if len(overlaps) > 0 {
			t.Errorf("at %d names of phases overlap: %q", width, overlaps)
		}
		if high := value[[]string](b, `[...document.querySelectorAll("h1, h2, h3")].filter(h => h.offsetHeight > 120).map(h => h.textContent)`); len(high) > 0 {
			t.Errorf("at %d these headings are squeezed: %q", width, high)
		}
		// A picture that is scaled down has words too small to read.
		if scaled := value[int](b, `[...document.querySelectorAll("svg[viewBox]")].filter(s => s.getClientRects().length && Math.abs(s.getBoundingClientRect().width - s.viewBox.baseVal.width) > 1).length`); scaled > 0 {
			t.Errorf("at %d %d pictures are not drawn for their size", width, scaled)
		}
		b.Picture(fmt.Sprintf("width-%d.png", width))
	}
}

// unfold opens all that is folded away, and waits until it is drawn.
func (b tab) unfold() {
	b.Helper()
	b.Do(chromedp.Evaluate[chromedp.Void](`Promise.all([...document.querySelectorAll("details:not([open])")].map(d => new Promise(done => {
		d.addEventListener("toggle", () => done(), {once: true}); d.open = true })))`, chromedp.EvalAwaitPromise))
}

// rates are the words on cells. What is behind those is on a canvas, and palette.readable chooses their ink.
const rates = ".rate"

func TestAllWordsStandOutInBothThemes(t *testing.T) {
	for _, scheme := range []string{"light", "dark"} {
		b := open(t, sample(), 1280, scheme)
		b.unfold()
		b.StandsOut(rates)
		// Marks that are no words need 3:1 (1.4.11).
		pale := value[[]string](b, `(() => { const probe = document.body.appendChild(document.createElement("i"));
			const luminance = name => { probe.style.color = "var(--" + name + ")"; const [x, y, z] = getComputedStyle(probe).color.match(/[\d.]+/g).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z };
			const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05), paper = luminance("paper");
			return ["fail", "outline", "ink"].filter(name => ratio(luminance(name), paper) < 3) })()`)
		if len(pale) > 0 {
			t.Errorf("%s: marks too pale: %q", scheme, pale)
		}
		if n := value[int](b, `document.getAnimations().length + [...document.querySelectorAll("*")].filter(e => getComputedStyle(e).transitionDuration !== "0s" || getComputedStyle(e).scrollBehavior === "smooth").length`); n > 0 {
			t.Errorf("%d things move, whatever prefers-reduced-motion says", n)
		}
	}
}

func TestWhoListensFindsHeadingsAndTables(t *testing.T) {
	b := open(t, sample(), 1280, "light")
	b.unfold()
	levels := value[[]int](b, `[...document.querySelectorAll("h1, h2, h3, h4")].map(h => Number(h.tagName[1]))`)
	for i := range levels {
		if i > 0 && levels[i] > levels[i-1]+1 {
			t.Errorf("heading %d is of level %d, after one of level %d", i, levels[i], levels[i-1])
		}
	}
	bad := value[[]string](b, `[
		...[...document.querySelectorAll("table")].filter(t => !t.caption?.textContent.trim()).map(() => "a table without a caption"),
		...[...document.querySelectorAll("th")].filter(h => !h.scope).map(h => "a heading without a scope: " + h.textContent),
		...[...document.querySelectorAll("tbody tr[data-run], table.phases tbody tr")].filter(r => !r.querySelector("th[scope=row]")).map(() => "a row without a heading"),
		...[...document.querySelectorAll("button, a, [role]")].filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.role === "status")).map(e => "nameless: " + e.outerHTML.slice(0, 80)),
		...[...document.querySelectorAll("canvas, svg")].filter(e => !e.closest("[aria-hidden=true], [aria-label], a, .key")).map(e => "a picture without words: " + e.outerHTML.slice(0, 80))]`)
	if len(bad) > 0 {
		t.Errorf("%q", bad)
	}
}

// big is the sample with four times the pods, stretched to 5 minutes of 600 bins.
func big() *results.Results {
	const length, bins = 300, 600
	r := sampleOf(sampleModels(), 4)
	var was float64
	for _, p := range r.Scenario.Phases {
		was += p.Seconds
	}
	factor := length / was
	later := func(at *time.Time) {
		if at != nil {
			*at = sampleStart.Add(time.Duration(float64(at.Sub(sampleStart)) * factor))
		}
	}
	longer := func(s *float64) {
		if s != nil {
			*s *= factor
		}
	}
	stretch := func(counts []int64) []int64 {
		longer := make([]int64, bins)
		for i := range longer {
			longer[i] = 2 * counts[i*len(counts)/bins]
		}
		return longer
	}
	for i := range r.Scenario.Phases {
		later(&r.Scenario.Phases[i].StartedAt)
		longer(&r.Scenario.Phases[i].Seconds)
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		for k := range run.Phases {
			later(&run.Phases[k].StartedAt)
			longer(&run.Phases[k].Seconds)
			for n := range run.Phases[k].Pods {
				pod := &run.Phases[k].Pods[n]
				later(pod.ReadyAt)
				later(pod.UnreadyAt)
				longer(pod.FirstRPCSeconds)
				longer(pod.OffSeconds)
			}
		}
		line := &run.Timeline
		line.BinSeconds, line.RPCs, line.Failed = float64(length)/bins, stretch(line.RPCs), stretch(line.Failed)
		for k := range line.Pods {
			pod := &line.Pods[k]
			later(pod.ReadyAt)
			later(pod.UnreadyAt)
			later(pod.EndedAt)
			pod.RPCs = stretch(pod.RPCs)
		}
	}
	return r
}

func TestSixtyPodsForFiveMinutesStayLight(t *testing.T) {
	r := big()
	b := open(t, r, 1280, "light")
	if n := len(r.Runs[0].Timeline.Pods); n < 60 || len(r.Runs[0].Timeline.RPCs) != 600 {
		t.Fatalf("the sample has %d pods and %d bins", n, len(r.Runs[0].Timeline.RPCs))
	}
	// Times are the machine's; what the browser has to hold is the page's.
	type load struct {
		Nodes, SVG, Canvases int
		Pixels, Highest      float64
	}
	got := value[load](b, `({Nodes: document.querySelectorAll("*").length, SVG: document.querySelectorAll("svg *").length, Canvases: document.querySelectorAll("canvas").length,
		Pixels: [...document.querySelectorAll("canvas")].reduce((sum, c) => sum + c.width * c.height, 0), Highest: Math.max(...[...document.querySelectorAll("figure.run")].map(f => f.offsetHeight))})`)
	if got.Nodes > 9000 || got.SVG > 3000 || got.Canvases != len(r.Runs)*3/2 || got.Pixels > 12e6 || got.Highest > 700 {
		t.Errorf("%+v, want at most 9000 nodes, 3000 of them in SVG, a canvas for each map, 12 million pixels and figures of 700 px", got)
	}
	before := got.Nodes
	times := value[map[string]float64](b, `new Promise(async done => {
		const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1, loaded = performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart;
		let hover = 0, moves = 0;
		const plot = document.querySelector("#run-2 .plot"); plot.scrollIntoView(); const box = plot.getBoundingClientRect();
		for (let x = box.left + 120; x < box.right - 80; x += 3, moves++) {
			const t = performance.now();
			plot.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: box.top + 40 + x % 200, bubbles: true}));
			document.body.offsetHeight;
			hover = Math.max(hover, performance.now() - t);
			if (moves % 20 === 0) await new Promise(requestAnimationFrame);
		}
		let frame = 0, last = await new Promise(requestAnimationFrame);
		for (let y = 0; y < 60; y++) { scrollBy(0, 120); const now = await new Promise(requestAnimationFrame); frame = Math.max(frame, now - last); last = now }
		const t = performance.now(); document.getElementById("theme").click(); document.body.offsetHeight;
		done({paint, loaded, hover, moves, frame, redraw: performance.now() - t}) })`)
	t.Logf("%+v; ms: %+v", got, times)
	if n := value[int](b, `document.querySelectorAll("*").length`); n > before+10 {
		t.Errorf("after %v moves of the pointer the page has %d nodes instead of %d", times["moves"], n, before)
	}
	b.Picture("many.png")
}

func TestThePagePrintsInTheLight(t *testing.T) {
	b := open(t, sample(), 1280, "dark")
	sheets, err := chromedp.Run(b.Context, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize(), chromedp.PDFPrintBackground()))
	if err != nil {
		t.Fatal(err)
	}
	b.Keep("print.pdf", sheets)
	if n := bytes.Count(sheets, []byte("/Type /Page\n")); n < 2 || n > 14 {
		t.Errorf("the page prints on %d sheets", n)
	}
	if got := value[string](b, `getComputedStyle(document.body).backgroundColor`); got != "rgb(18, 22, 27)" {
		t.Errorf("after printing the screen has paper %s, want the dark of before", got)
	}
	const sheet = 703.0 // of A4 across, without its margins, in CSS pixels
	for _, r := range []*results.Results{sample(), big()} {
		b := open(t, r, 1032, "dark")
		folded := value[int](b, `document.querySelectorAll("details:not([open])").length`)
		b.Medium("print", "dark")
		b.Do(chromedp.Evaluate[chromedp.Void](`dispatchEvent(new Event("beforeprint"))`))
		if got := value[string](b, `getComputedStyle(document.body).backgroundColor`); got != "rgb(255, 255, 255)" {
			t.Errorf("the paper is %s", got)
		}
		if ink := value[[]int](b, `[...document.querySelector(".run canvas").getContext("2d").getImageData(4, 4, 1, 1).data]`); ink[3] != 0 {
			t.Errorf("a map has a ground of its own: %v", ink)
		}
		b.StandsOut(rates)
		if n := value[int](b, `[...document.querySelectorAll("button:not(table button), .tip")].filter(e => e.getClientRects().length).length`); n > 0 {
			t.Errorf("%d controls are printed", n)
		}
		cut := value[[]string](b, fmt.Sprintf(`[...document.querySelectorAll("figure.run, .multiples li, table.scorecard")].filter(e => e.getClientRects().length && (getComputedStyle(e).breakInside !== "avoid" || e.offsetHeight > %f)).map(e => e.className + " " + e.offsetHeight)`, sheet))
		if len(cut) > 0 {
			t.Errorf("cut in two on paper: %q", cut)
		}
		if n := value[int](b, `[...document.querySelectorAll("details:not([open])")].filter(e => e.getClientRects().length).length`); n > 0 {
			t.Errorf("%d tables stay folded on paper", n)
		}
		b.Do(chromedp.Evaluate[chromedp.Void](`dispatchEvent(new Event("afterprint"))`))
		b.Medium("screen", "dark")
		if n := value[int](b, `document.querySelectorAll("details:not([open])").length`); n != folded {
			t.Errorf("after printing %d tables are folded, want %d as before", n, folded)
		}
	}
}
