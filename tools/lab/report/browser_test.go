//go:build browser

package report

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/internal/browsertest"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tab is a page in a browser of its own.
type tab struct{ *browsertest.Tab }

// open loads r's page at a width; a scheme is "light" or "dark".
func open(t *testing.T, r *results.Results, width int64, scheme string) tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(html(t, r)), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "file://" + path
	return tab{browsertest.Open(t, browsertest.Page{
		URL: at, Width: width, Scheme: scheme,
		Own: func(url string) bool { return url == at },
	})}
}

func value[T any](b tab, expression string) T {
	b.Helper()
	return browsertest.Value[T](b.Tab, expression)
}

// visit loads the page anew, at a fragment such as "#t=3".
func (b tab) visit(fragment string) {
	b.Helper()
	b.Do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.URL+fragment))
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
	b.Do(chromedp.Click(chromedp.CSS(`th[data-key="failed"] button`)))
	expect("failed", "ascending", "847", "895", "943", "950", "989", "1,166", "1,957", "5,897")
	b.Do(chromedp.Click(chromedp.CSS(`th[data-key="failed"] button`)))
	expect("failed", "descending", "5,897", "1,957", "1,166", "989", "950", "943", "895", "847")

	b.Do(chromedp.Focus(chromedp.CSS(`th[data-key="dns"] button`)), chromedp.KeyEvent(kb.Enter))
	expect("dns", "ascending", "0", "0", "0", "7", "14", "28", "35", "–")
	b.Do(chromedp.KeyEvent(" "))
	expect("dns", "descending", "35", "28", "14", "7", "0", "0", "0", "–")
	if got := sorted("failed"); got != "none" {
		t.Errorf("two columns claim to be sorted: failed is %q", got)
	}
	b.Do(chromedp.Click(chromedp.CSS(`th[data-key="affinity"] button`)))
	if got := column("affinity"); got[0] > "31" || got[len(got)-1] != "100 %" || got[len(got)-3] != "100 %" {
		t.Errorf("affinity ascending: %q", got)
	}
	b.Do(chromedp.Click(chromedp.CSS(`th[data-key="overlay"] button`)))
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
	b.Picture("dark.png")
	b.Do(chromedp.Click(chromedp.CSS("#theme")))
	if got := paper(); got != light {
		t.Errorf("the button leaves paper %s, want %s", got, light)
	}
	if cells() == darkCells {
		t.Error("the maps keep the colours of the dark")
	}
	b.Do(chromedp.Click(chromedp.CSS("#theme")))
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
	b.Do(chromedp.Focus(chromedp.CSS("#run-0 .plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.Enter))
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
