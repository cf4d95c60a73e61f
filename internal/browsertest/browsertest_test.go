//go:build browser

package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/internal/browsertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trial is a test of which it is wanted that it fails. Its cleanups run when it ends, and not with the real test.
type trial struct {
	testing.TB

	cleanups []func()
	errors   []string
}

func (r *trial) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *trial) Error(args ...any)         { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *trial) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }

func (r *trial) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

// judged are the errors of a test that opens a page with that in its body and does something in it.
func judged(t *testing.T, body string, do func(*browsertest.Tab)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin: 0; background: white"><main>%s</main>`, body)
	}))
	defer server.Close()
	r := &trial{TB: t}
	do(browsertest.Open(r, browsertest.Page{
		URL: server.URL + "/", Width: 390, Scheme: "light", Excused: []string{"provoked"},
		Own: func(url string) bool { return strings.HasPrefix(url, server.URL) },
	}))
	r.end()

	return strings.Join(r.errors, "\n")
}

func TestATestFailsForWhatItsPageDoes(t *testing.T) {
	loaded := func(b *browsertest.Tab) { b.Wait(time.Minute, `document.readyState === "complete"`) }
	for body, want := range map[string]string{
		`all is well`: "",
		`<script>throw new Error("provoked")</script>`:     "",
		`<script>throw new Error("of its own")</script>`:   "the browser complains: Uncaught Error: of its own",
		`<script>console.warn("look")</script>`:            "the browser complains: console.warning",
		`<img src="http://127.0.0.2:9/provoked">`:          "the page requests http://127.0.0.2:9/",
		`<link rel="stylesheet" href="file:///style.css">`: "the browser complains: Not allowed to load local resource",
	} {
		if got := judged(t, body, loaded); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestATestFailsForWhatItsPageShows(t *testing.T) {
	for body, want := range map[string]string{
		`<p style="width: 380px">narrow</p>`:                                          "",
		`<p style="width: 600px">wide</p>`:                                            "the page is 600 wide in a window of 390",
		`<div class="scroll" style="overflow: auto"><p style="width: 600px">wide</p>`: "",
		`<p style="color: #777">grey</p>`:                                             "light at 390: too little contrast: [\"P. 4.48\"]",
		`<p class="map" style="color: #777">grey</p>`:                                 "",
		`<p style="color: #767676">grey</p>`:                                          "",
	} {
		got := judged(t, body, func(b *browsertest.Tab) { b.Fits(); b.StandsOut(".map") })
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestWhatIsWaitedForMayComeFromThePageOrItsWindow(t *testing.T) {
	got := judged(t, `<p></p>`, func(b *browsertest.Tab) {
		browsertest.Value[bool](b, `setTimeout(() => { document.querySelector("p").textContent = matchMedia("(prefers-color-scheme: dark)").matches }, 100) > 0`)
		b.Wait(time.Minute, `document.querySelector("p").textContent === "false"`)
		b.Window(1280, "dark")
		b.Wait(time.Minute, `innerWidth === 1280 && matchMedia("(prefers-color-scheme: dark)").matches`)
	})
	if got != "" {
		t.Error(got)
	}
}
