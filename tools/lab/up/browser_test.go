//go:build browser

package up_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/evenkeel/evenkeel/internal/browsertest"
)

// This test opens the page of a real lab in Chromium.

// lab is a lab that runs as a process of its own.
type lab struct {
	*testing.T
	url *url.URL
}

func startLab(t *testing.T, overlays ...string) *lab {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./tools/lab", "./services/rng", "./services/geoip", "./services/client")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	cmd := exec.Command(filepath.Join(bin, "lab"), append([]string{"up", "--port", "0"}, overlays...)...)
	cmd.Dir = "../../.."
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // unless it has failed
		for lines.Scan() {
			t.Log(lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the lab: %v", err)
		}
	})
	for lines.Scan() {
		t.Log(lines.Text())
		if _, at, found := strings.Cut(lines.Text(), "http://"); found {
			return &lab{t, &url.URL{Scheme: "http", Host: strings.Fields(at)[0], Path: "/"}}
		}
	}
	t.Fatal("the lab ended before it said where its page is")

	return nil
}

// live is where the page of an overlay's client is.
func (l *lab) live(overlay string) string {
	return "http://" + net.JoinHostPort(overlay+".localhost", l.url.Port()) + "/"
}

// report is what an overlay's client says of rng.
type report struct {
	Service      string
	Failed       int64
	ErrorsByCode map[string]int64
	LastError    string
	Pods         []struct{ Name string }
}

func (l *lab) report(overlay string) report {
	l.Helper()
	// Not every system knows the names under localhost, as browsers do.
	request, err := http.NewRequest(http.MethodGet, l.url.JoinPath("report").String(), nil)
	if err != nil {
		l.Fatal(err)
	}
	request.Host, request.Close = overlay+".localhost", true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		l.Fatal(err)
	}
	defer response.Body.Close()
	var all struct{ Services []report }
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		l.Fatal(err)
	}
	i := slices.IndexFunc(all.Services, func(r report) bool { return r.Service == "rng" })
	if i < 0 {
		l.Fatalf("%s: its client does not call rng", overlay)
	}

	return all.Services[i]
}

// tab is the page in a browser of its own.
type tab struct{ *browsertest.Tab }

func open(t *testing.T, at string) tab {
	t.Helper()

	return tab{browsertest.Open(t, browsertest.Page{
		URL: at, Width: 1280, Scheme: "light",
		Own: func(asked string) bool {
			u, err := url.Parse(asked)

			return err == nil && (u.Hostname() == "127.0.0.1" || strings.HasSuffix(u.Hostname(), ".localhost"))
		},
	})}
}

// await waits until an expression is true in the page. Real pods take their time.
func (b tab) await(expression string) { b.Helper(); b.Wait(time.Minute, expression) }

// frames are the documents within the page. Being of other origins, they are targets of their own.
func (b tab) frames() map[string]bool {
	b.Helper()
	targets, err := chromedp.Targets(b.Context)
	if err != nil {
		b.Fatal(err)
	}
	found := map[string]bool{}
	for _, t := range targets {
		if t.Type == "iframe" {
			found[t.URL] = true
		}
	}

	return found
}

// pictures takes what is in the window at two widths in both themes, if pictures are wanted. The page may not be wider
// than the window in any case.
func (b tab) pictures(name string) {
	b.Helper()
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.Window(width, scheme)
			b.await(fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= innerWidth", width))
			if os.Getenv(browsertest.Screenshots) == "" {
				continue
			}
			// Documents of other origins are drawn when it is their turn, and nothing says when that was.
			browsertest.Value[bool](b.Tab, `new Promise(r => setTimeout(() => r(true), 1500))`)
			picture, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
			if err != nil {
				b.Fatal(err)
			}
			b.Keep(fmt.Sprintf("%s-%d-%s.png", name, width, scheme), picture)
		}
	}
	b.Window(1280, "light")
}

func TestTheButtonsOfThePageDoToRealPodsWhatTheySay(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	l := startLab(t, "clusterip", "endpointslice")
	b := open(t, l.url.String())
	const (
		all      = `document.querySelector("[data-overlay=all]")`
		slice    = `document.querySelector("[data-overlay=endpointslice]")`
		settled  = `[...document.querySelectorAll(".pods")].every(e => e.textContent === "3 of 3 pods ready")`
		nothing  = `[...document.querySelectorAll(".faults")].every(e => e.textContent === "")`
		firstRow = `document.querySelector(".log li:first-child").textContent`
	)
	b.await(settled)
	b.pictures("start")
	for _, overlay := range []string{"clusterip", "endpointslice"} {
		if !b.frames()[l.live(overlay)] {
			t.Errorf("the live page of %s is not in the page: %v", overlay, b.frames())
		}
	}
	before := l.report("endpointslice")

	// A rolling update of all overlays, by a click.
	b.Do(chromedp.Click(chromedp.CSS(`[data-overlay=all] [data-step*=rollout]`)))
	b.await(firstRow + `.endsWith("allroll out")`)
	b.await(slice + `.querySelector(".pods").textContent.includes("rolling update")`)
	b.pictures("rollout")
	b.await(settled + "&&" + nothing)
	after := l.report("endpointslice")
	if after.Failed != before.Failed {
		t.Errorf("endpointslice: %d RPCs failed before, %d after: %v, %s", before.Failed, after.Failed, after.ErrorsByCode, after.LastError)
	}
	// A pod without a name has not answered.
	fresh := slices.DeleteFunc(after.Pods, func(p struct{ Name string }) bool { return p.Name == "" || slices.Contains(before.Pods, p) })
	if len(fresh) != 3 {
		t.Errorf("%d new pods have answered, want 3: %v", len(fresh), fresh)
	}

	// What is down is so until the button is pressed again; by the keyboard too, and for one overlay only.
	b.Do(chromedp.Focus(chromedp.CSS(`[data-overlay=clusterip] [data-toggle=dns]`)), chromedp.KeyEvent(kb.Enter))
	b.await(`document.querySelector("[data-overlay=clusterip] .faults").textContent === "DNS down"`)
	b.await(slice + `.querySelector(".faults").textContent === "" && ` + all + `.querySelector("[data-toggle=dns]").ariaPressed === "false"`)
	b.Do(chromedp.KeyEvent(" "))
	b.await(firstRow + `.endsWith("clusteripDNS up") && ` + nothing)

	// Two presses are two pods.
	more := chromedp.CSS(`[data-overlay=endpointslice] [data-scale="1"]`)
	b.Do(chromedp.Click(more), chromedp.Click(more))
	b.await(slice + `.querySelector(".pods").textContent === "5 of 5 pods ready" && ` + all + `.querySelector("output").textContent === "3–5"`)

	// What a script does is on the page, and what could not be done is too.
	for body, want := range map[string]int{
		`{"overlay": "clusterip", "freeze": 1, "for": "15s"}`: http.StatusOK,
		`{"overlay": "clusterip", "kill": 50}`:                http.StatusConflict,
		`{"overlay": "clusterip", "kill": "all"}`:             http.StatusBadRequest,
	} {
		response, err := http.Post(l.url.JoinPath("step").String(), "application/json", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", body, response.Status)
		}
	}
	b.await(`document.querySelector("[data-overlay=clusterip] .faults").textContent.startsWith("1 frozen for ")`)
	b.await(`document.querySelector(".log .problem") !== null`)
	b.Do(chromedp.Click(chromedp.CSS(`[data-toggle=api-server]`)))
	b.await(slice + `.querySelector(".faults").textContent.includes("API server down")`)
	b.pictures("faults")
}
