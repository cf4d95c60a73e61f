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
		if u := e.Request.URL; u != b.url && !strings.HasPrefix(u, "data:") && u != "about:blank" {
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

// visit loads the page anew, at a fragment such as "#t=3".
func (b *tab) visit(fragment string) {
	b.Helper()
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.url+fragment))
}

func (b *tab) scheme(scheme string) { b.Helper(); b.media("screen", scheme) }

func (b *tab) media(media, scheme string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
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
	cells := func() string { return value[string](b, `document.querySelector(".run canvas").toDataURL()`) }
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

func TestARecordWithNothingInItIsDrawnWithoutComplaint(t *testing.T) {
	r := &results.Results{SchemaVersion: results.SchemaVersion, StartedAt: sampleStart, Scenario: results.Scenario{Name: "none", Service: "rng"}}
	open(t, r, 1280, "light")
	r.Runs = []results.Run{{Overlay: "clusterip", Service: "rng"}, {Overlay: "clusterip", Service: "geoip", Control: true}}
	b := open(t, r, 390, "dark")
	b.unfold()
	b.do(chromedp.Focus(chromedp.CSS("#run-0 .plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.Enter))
	b.visit("#overlay=clusterip&t=0.5")
	if got := b.tip(); got != "" {
		t.Errorf("there is nothing to tell, and the tip is %q", got)
	}
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
