//go:build browser

package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func (b tab) fragment() string { b.Helper(); return value[string](b, `location.hash`) }

// top is how far below the edge of the window a figure begins.
func (b tab) top(selector string) float64 {
	b.Helper()
	return value[float64](b, `document.querySelector("`+selector+`").getBoundingClientRect().top`)
}

func TestALinkLeadsToItsMoment(t *testing.T) {
	b := open(t, sample(), 1280, "light")
	b.visit("#overlay=endpointslice&t=31.5")
	if top := b.top("#run-6"); math.Abs(top) > 20 {
		t.Errorf("the figure of endpointslice is at %.0f px, want it at the top of the window", top)
	}
	for _, want := range []string{"endpointslice", "31.50–31.75 s, scale up", "200 RPC/s sent (50 in 0.25 s)"} {
		if got := b.tip(); !strings.Contains(got, want) {
			t.Errorf("the tip is %q, want it to have %q", got, want)
		}
	}
	if label := value[string](b, `document.querySelector("#run-6 .copy").textContent`); label != "Copy link to 31.5 s" {
		t.Errorf("the button says %q", label)
	}
	line := func() float64 {
		return value[float64](b, `document.querySelector("#run-6 .cursor").getBoundingClientRect().left`)
	}
	want, _ := b.cell("#run-6", 0, 31.625)
	if got := line(); math.Abs(got-want) > 2 {
		t.Errorf("the line is at %.1f px, want %.1f", got, want)
	}
	b.Do(chromedp.MouseEvent("mouseMoved", 5, 5))
	if got := line(); math.Abs(got-want) > 2 {
		t.Errorf("the line does not stay: %.1f px, want %.1f", got, want)
	}
	b.Picture("moment.png")

	b.visit("#overlay=clusterip&service=geoip")
	if open := value[bool](b, `document.getElementById("run-8").closest("details").open`); !open || math.Abs(b.top("#run-8")) > 600 {
		t.Errorf("a link to a control run does not unfold it")
	}
	for _, nonsense := range []string{"#overlay=nothing&t=3", "#overlay=endpointslice&t=1e9", "#overlay=endpointslice&t=soon", "#t=%", "#overlay=%E0%A4%A"} {
		b.visit(nonsense)
		if got := b.tip(); got != "" {
			t.Errorf("%s shows %q", nonsense, got)
		}
	}
}

func TestAClickOrEnterKeepsTheMomentForALink(t *testing.T) {
	b := open(t, sample(), 1280, "light")
	b.Do(chromedp.ScrollIntoView(chromedp.CSS("#run-4 .plot")))
	x, y := b.cell("#run-4", 2, 20.1)
	b.Do(chromedp.MouseClickXY(x, y))
	if got, want := b.fragment(), "#overlay=api-watch&t=20"; got != want {
		t.Errorf("a click leads to %s, want %s", got, want)
	}
	// The clipboard of the machine that runs the test is not ours to write.
	b.Do(chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText = async text => { window.copied = text }`))
	b.Do(chromedp.Click(chromedp.CSS("#run-4 .copy")))
	if got, want := value[string](b, `window.copied`), b.URL+"#overlay=api-watch&t=20"; got != want {
		t.Errorf("the button copies %q, want %q", got, want)
	}
	if said := value[string](b, `document.getElementById("said").textContent`); said != "Link copied" {
		t.Errorf("who listens is told %q", said)
	}
	b.Do(chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText = async () => { throw new Error("denied") }`))
	b.Do(chromedp.Click(chromedp.CSS("#run-5 .copy")))
	if said := value[string](b, `document.getElementById("said").textContent`); said != "The link is in the address bar" || b.fragment() != "#overlay=dns-srv&t=20" {
		t.Errorf("without a clipboard: %q, and %s in the address bar", said, b.fragment())
	}
	b.Do(chromedp.Focus(chromedp.CSS("#run-2 .plot")), chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.Enter))
	if got, want := b.fragment(), "#overlay=dns-round-robin&t=0.25"; got != want {
		t.Errorf("Enter leads to %s, want %s", got, want)
	}
	b.Do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Escape))
	if got, want := b.fragment(), "#overlay=dns-round-robin"; got != want {
		t.Errorf("Escape leaves %s, want %s", got, want)
	}
}

func TestTheSmallMapsShareTheirAxesAndOpenTheFullFigure(t *testing.T) {
	r := sample()
	// An overlay with fewer pods has rows as high as the others, not higher.
	r.Runs[3].Timeline.Pods = r.Runs[3].Timeline.Pods[:4]
	b := open(t, r, 1280, "light")
	type small struct {
		Overlay, Numbers, Seconds string
		Width, Height             int
	}
	var want []small
	got := value[[]small](b, `[...document.querySelectorAll(".multiple")].map(m => ({Overlay: m.querySelector("b").textContent,
		Numbers: m.querySelector(".numbers").textContent, Seconds: m.querySelector(".seconds").textContent,
		Width: m.querySelector("canvas").width, Height: m.querySelector("canvas").height}))`)
	for i := range r.Runs {
		if !r.Runs[i].Control {
			want = append(want, got[0])
			want[len(want)-1].Overlay = r.Runs[i].Overlay
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-equal axes +page:\n%s", diff)
	}
	if got[0].Numbers != "1234567" {
		t.Errorf("the phases are %q, want 1234567", got[0].Numbers)
	}
	b.Do(chromedp.Focus(chromedp.CSS(`.multiple[data-run="6"]`)), chromedp.KeyEvent(kb.Enter))
	if top := b.top("#run-6"); b.fragment() != "#overlay=endpointslice" || math.Abs(top) > 20 {
		t.Errorf("Enter leads to %s, its figure at %.0f px", b.fragment(), top)
	}
	b.Do(chromedp.ScrollIntoView(chromedp.CSS(`.multiple[data-run="2"] canvas`)))
	place := value[[]float64](b, `(() => { const box = document.querySelector('.multiple[data-run="2"] canvas').getBoundingClientRect(); return [box.left + box.width / 2, box.top + 9] })()`)
	b.Do(chromedp.MouseEvent("mouseMoved", place[0], place[1]))
	if tip := b.tip(); !strings.Contains(tip, r.Runs[2].Timeline.Pods[1].Name) || !strings.Contains(tip, "rolling update") && !strings.Contains(tip, "scale up") {
		t.Errorf("a small map tells %q", tip)
	}
	b.Do(chromedp.MouseClickXY(place[0], place[1]))
	if got := b.fragment(); !strings.HasPrefix(got, "#overlay=dns-round-robin&t=3") {
		t.Errorf("a click in the middle leads to %s, want some 36 s", got)
	}
	if top := b.top("#run-2"); math.Abs(top) > 20 {
		t.Errorf("the figure is at %.0f px", top)
	}
}

func TestTheRecordIsOneClickAway(t *testing.T) {
	r := sample()
	b := open(t, r, 1280, "light")
	folder := t.TempDir()
	_, err := chromedp.CallBrowser(b.Context, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder, EventsEnabled: new(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 1)
	if err := chromedp.ListenBrowser(b.Context, func(event any) {
		if e, ok := event.(*browser.EventDownloadProgress); ok && e.State == browser.DownloadProgressStateCompleted {
			done <- struct{}{}
		}
	}); err != nil {
		t.Fatal(err)
	}
	b.Do(chromedp.Click(chromedp.CSS("#json")))
	select {
	case <-done:
	case <-b.Context.Done():
		t.Fatal("nothing was downloaded")
	}
	file, err := os.Open(filepath.Join(folder, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := results.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("-given +downloaded:\n%s", diff)
	}
}
