//go:build browser

package report

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// These tests open the page in Chromium. REPORT_SCREENSHOTS names a folder to
// keep the pictures in that they take.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tab is a page in a browser of its own, and what the browser had to say of it.
type tab struct {
	*testing.T
	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// open loads r's page at a width; a scheme is "light" or "dark".
func open(t *testing.T, r *results.Results, width int64, scheme string) *tab {
	t.Helper()
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(stop)
	allocator, free := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(free)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &tab{T: t, ctx: ctx, url: "file://" + path}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.scheme(scheme)
	b.do(chromedp.EmulateViewport(width, 1000), chromedp.Navigate(b.url))
	t.Cleanup(b.quiet)
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; u != b.url && !strings.HasPrefix(u, "data:") {
			b.requests = append(b.requests, u)
		}
	}
}

// quiet is the end of every test: the page must not have complained, nor asked
// for anything but itself.
func (b *tab) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.Errorf("the browser complains: %q", b.complaints)
	}
	if len(b.requests) > 0 {
		b.Errorf("the page requests %q", b.requests)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

func value[T any](b *tab, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *tab) scheme(scheme string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// picture takes the whole page, which must be as wide as the window.
func (b *tab) picture(name string) {
	b.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(text)); err != nil {
		b.Fatal(err)
	}
	b.keep(name, text)
}

func (b *tab) keep(name string, text []byte) {
	b.Helper()
	folder := os.Getenv("REPORT_SCREENSHOTS")
	if folder == "" {
		folder = b.TempDir()
	}
	if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
		b.Fatal(err)
	}
}

func TestEveryRunHasAHeatMapWithARowForEachPod(t *testing.T) {
	r := sample()
	b := open(t, r, 1400, "light")
	type heatmap struct{ Overlay, Pods, Empty, Crosses int }
	var want []heatmap
	for i, run := range r.Runs {
		m := heatmap{Overlay: i, Pods: len(run.Timeline.Pods)}
		for _, pod := range run.Timeline.Pods {
			if pod.ReadyAt != nil && !slices.ContainsFunc(pod.RPCs, func(n int64) bool { return n > 0 }) {
				m.Empty++
			}
			if pod.EndReason == "killed" {
				m.Crosses++
			}
		}
		want = append(want, m)
	}
	got := value[[]heatmap](b, `[...document.querySelectorAll("figure.run")].map(f => ({
		Overlay: Number(f.dataset.run), Pods: f.querySelectorAll("g.pod").length,
		Empty: [...f.querySelectorAll("g.pod")].filter(p => p.querySelector(".outline") && !p.querySelector("image")).length,
		Crosses: f.querySelectorAll("path.killed").length}))`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-record +page:\n%s", diff)
	}
	if words := value[string](b, `document.querySelector(".plot svg").textContent`); !strings.Contains(words, "no RPC") {
		t.Errorf("the map of clusterip does not say that ready pods got nothing: %s", words)
	}
	b.picture("light.png")
}

func TestTheScorecardSortsByClickAndByKeyboard(t *testing.T) {
	r := sample()
	r.Runs[1].Phases[0].Cost.DNSQueries = nil
	b := open(t, r, 1400, "light")
	column := func(key string) []string {
		return value[[]string](b, fmt.Sprintf(`(() => { const i = document.querySelector('th[data-key=%q]').cellIndex;
			return [...document.querySelectorAll("#scorecard tbody:first-of-type tr")].map(r => r.cells[i].textContent) })()`, key))
	}
	sorted := func(key string) string {
		return value[string](b, fmt.Sprintf(`document.querySelector('th[data-key=%q]').getAttribute("aria-sort")`, key))
	}
	expect := func(key, direction string, want ...string) {
		t.Helper()
		if got := sorted(key); got != direction {
			t.Errorf("%s: aria-sort is %q, want %q", key, got, direction)
		}
		if diff := cmp.Diff(want, column(key)); diff != "" {
			t.Errorf("%s %s (-want +page):\n%s", key, direction, diff)
		}
	}
	b.do(chromedp.Click(chromedp.CSS(`th[data-key="failed"] button`)))
	expect("failed", "ascending", "847", "895", "943", "950", "989", "1,166", "1,957", "5,897")
	b.do(chromedp.Click(chromedp.CSS(`th[data-key="failed"] button`)))
	expect("failed", "descending", "5,897", "1,957", "1,166", "989", "950", "943", "895", "847")

	b.do(chromedp.Focus(chromedp.CSS(`th[data-key="dns"] button`)), chromedp.KeyEvent(kb.Enter))
	expect("dns", "ascending", "0", "0", "0", "7", "14", "28", "35", "–")
	b.do(chromedp.KeyEvent(" "))
	expect("dns", "descending", "35", "28", "14", "7", "0", "0", "0", "–")
	if got := sorted("failed"); got != "none" {
		t.Errorf("two columns claim to be sorted: failed is %q", got)
	}
	b.do(chromedp.Click(chromedp.CSS(`th[data-key="affinity"] button`)))
	if got := column("affinity"); got[0] > "31" || got[len(got)-1] != "100 %" || got[len(got)-3] != "100 %" {
		t.Errorf("affinity ascending: %q", got)
	}
	b.do(chromedp.Click(chromedp.CSS(`th[data-key="overlay"] button`)))
	expect("overlay", "ascending", "api-watch", "clusterip", "clusterip-max-connection-age", "consistent-hash",
		"dns-round-robin", "dns-round-robin-max-connection-age", "dns-srv", "endpointslice")
	if n := value[int](b, `document.querySelectorAll("#scorecard tbody.controls tr[data-run]").length`); n != len(r.Runs)/2 {
		t.Errorf("%d control runs stand apart, want %d", n, len(r.Runs)/2)
	}
}

func TestTheThemeFollowsTheSystemUntilTheButtonChooses(t *testing.T) {
	b := open(t, sample(), 1400, "dark")
	paper := func() string { return value[string](b, `getComputedStyle(document.body).backgroundColor`) }
	cells := func() string { return value[string](b, `document.querySelector("image").getAttribute("href")`) }
	const light, dark = "rgb(253, 252, 250)", "rgb(18, 22, 27)"
	if got := paper(); got != dark {
		t.Errorf("a dark system has paper %s, want %s", got, dark)
	}
	darkCells := cells()
	b.picture("dark.png")
	b.do(chromedp.Click(chromedp.CSS("#theme")))
	if got := paper(); got != light {
		t.Errorf("the button leaves paper %s, want %s", got, light)
	}
	if cells() == darkCells {
		t.Error("the maps keep the colours of the dark")
	}
	b.do(chromedp.Click(chromedp.CSS("#theme")))
	if got := paper(); got != dark || cells() != darkCells {
		t.Errorf("the button does not bring the dark back: paper %s", got)
	}
}

func TestAMapTellsItsFiguresToThePointerAndTheKeys(t *testing.T) {
	r := sample()
	b := open(t, r, 1400, "light")
	tip := func() string {
		return value[string](b, `document.getElementById("tip").hidden ? "" : [...document.getElementById("tip").children].map(e => e.textContent).join("; ")`)
	}
	if got := tip(); got != "" {
		t.Errorf("the tip shows %q before anybody asked", got)
	}
	b.do(chromedp.ScrollIntoView(chromedp.CSS("#run-0 .plot")))
	where := value[[]float64](b, `(() => { const box = document.querySelector("#run-0 g.pod image").getBoundingClientRect(); return [box.left + 2, box.top + 2] })()`)
	b.do(chromedp.MouseEvent("mouseMoved", where[0], where[1]))
	pod := r.Runs[0].Timeline.Pods[0]
	for _, want := range []string{pod.Name, "0.00–0.25 s, steady", "200 RPC/s (50 in 0.25 s)", "ready since before the scenario", "0 RPCs of this overlay failed here"} {
		if got := tip(); !strings.Contains(got, want) {
			t.Errorf("the tip is %q, want it to have %q", got, want)
		}
	}
	b.picture("pointer.png")
	b.do(chromedp.MouseEvent("mouseMoved", 5, 5))
	if got := tip(); got != "" {
		t.Errorf("the tip stays when the pointer leaves: %q", got)
	}
	b.do(chromedp.Focus(chromedp.CSS("#run-2 .plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowDown))
	if got, want := tip(), r.Runs[2].Timeline.Pods[1].Name+"; 0.25–0.50 s, steady"; !strings.HasPrefix(got, want) {
		t.Errorf("the keys lead to %q, want %q", got, want)
	}
	b.do(chromedp.KeyEvent(kb.End))
	if got, want := tip(), "71.75–72.00 s, scale down"; !strings.Contains(got, want) {
		t.Errorf("End leads to %q, want %q", got, want)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	if got := tip(); got != "" {
		t.Errorf("Escape leaves %q", got)
	}
}

func TestThePageFitsItsWindowAndStaysWhereItIs(t *testing.T) {
	for _, width := range []int64{900, 1200, 1800} {
		b := open(t, sample(), width, "light")
		if wide := value[int64](b, `document.documentElement.scrollWidth`); wide > width {
			t.Errorf("the page is %d wide in a window of %d", wide, width)
		}
		shift := value[float64](b, `new Promise(done => { let sum = 0;
			new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value }).observe({type: "layout-shift", buffered: true});
			requestAnimationFrame(() => setTimeout(() => done(sum), 50)) })`)
		if shift > 0.01 {
			t.Errorf("at %d the page moves while it loads: layout shift %.3f", width, shift)
		}
		overlaps := value[[]string](b, `(() => {
			const boxes = [...document.querySelectorAll(".phase-names text")].map(t => [t.textContent, t.getBoundingClientRect()]);
			return boxes.flatMap(([a, x], i) => boxes.slice(i + 1).filter(([, y]) => x.left < y.right && y.left < x.right && x.top < y.bottom - 2 && y.top < x.bottom - 2).map(([b]) => a + " / " + b)) })()`)
		if len(overlaps) > 0 {
			t.Errorf("at %d names of phases overlap: %q", width, overlaps)
		}
		b.picture(fmt.Sprintf("width-%d.png", width))
	}
}

func TestManyPodsAreDrawnSoon(t *testing.T) {
	b := open(t, sampleOf(sampleModels(), 3), 1400, "light")
	if n := value[int](b, `document.querySelectorAll("figure.run:not(.control) g.pod").length`); n < 8*40 {
		t.Fatalf("the sample has %d pods, want 320 or more", n)
	}
	ms := value[float64](b, `(() => { const t = performance.now(); document.getElementById("theme").click(); document.body.offsetHeight; return performance.now() - t })()`)
	t.Logf("drawing it all anew takes %.0f ms", ms)
	if ms > 2000 {
		t.Errorf("drawing it all anew takes %.0f ms, want 2000 at most", ms)
	}
	b.picture("many.png")
}

func TestAHostileRecordRunsNothing(t *testing.T) {
	for _, attack := range []string{`</script><script>document.title = "owned"</script>`, `"><img src=x onerror="document.title='owned'">`} {
		b := open(t, hostile(attack), 1400, "light")
		if title := value[string](b, `document.title`); title == "owned" {
			t.Errorf("%q ran", attack)
		}
		if n := value[int](b, `document.querySelectorAll("img").length`); n > 0 {
			t.Errorf("%q became an element", attack)
		}
	}
}

func TestThePagePrintsInTheLight(t *testing.T) {
	b := open(t, sample(), 1400, "dark")
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize(), chromedp.PDFPrintBackground()))
	if err != nil {
		t.Fatal(err)
	}
	b.keep("print.pdf", pdf)
	if n := bytes.Count(pdf, []byte("/Type /Page\n")); n < 2 || n > 12 {
		t.Errorf("the page prints on %d sheets", n)
	}
}
