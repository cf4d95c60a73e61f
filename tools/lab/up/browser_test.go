//go:build browser

package up_test

import (
	"bufio"
	"bytes"
	"context"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// This test opens the page of a real lab in Chromium. UP_SCREENSHOTS names a folder to keep the pictures in that it
// takes.

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

// tab is the page in a browser of its own, and what the browser had to say of it.
type tab struct {
	*testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

func open(t *testing.T, at string) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(stop)
	allocator, free := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(free)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &tab{T: t, ctx: ctx}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(1280, 1000), chromedp.Navigate(at))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.complaints) > 0 {
			t.Errorf("the browser complains: %q", b.complaints)
		}
	})

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
		u, err := url.Parse(e.Request.URL)
		if err == nil && u.Scheme != "data" && u.Hostname() != "127.0.0.1" && !strings.HasSuffix(u.Hostname(), ".localhost") {
			b.complaints = append(b.complaints, "it asks for "+e.Request.URL)
		}
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// await waits until an expression is true in the page.
func (b *tab) await(expression string) {
	b.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("main").innerText`))
		b.Fatalf("%s: %v\n%s", expression, err, text)
	}
}

// frames are the documents within the page. Being of other origins, they are targets of their own.
func (b *tab) frames() map[string]bool {
	b.Helper()
	targets, err := chromedp.Targets(b.ctx)
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
func (b *tab) pictures(name string) {
	b.Helper()
	folder := os.Getenv("UP_SCREENSHOTS")
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Media: "screen", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.do(chromedp.EmulateViewport(width, 1000))
			b.await(fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= innerWidth", width))
			if folder == "" {
				continue
			}
			// Documents of other origins are drawn when it is their turn, and nothing says when that was.
			drawn := chromedp.Evaluate[bool](`new Promise(r => setTimeout(() => r(true), 1500))`, chromedp.EvalAwaitPromise)
			if _, err := chromedp.Run(b.ctx, drawn); err != nil {
				b.Fatal(err)
			}
			picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.do(chromedp.EmulateViewport(1280, 1000))
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
	b.do(chromedp.Click(chromedp.CSS(`[data-overlay=all] [data-step*=rollout]`)))
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
	b.do(chromedp.Focus(chromedp.CSS(`[data-overlay=clusterip] [data-toggle=dns]`)), chromedp.KeyEvent(kb.Enter))
	b.await(`document.querySelector("[data-overlay=clusterip] .faults").textContent === "DNS down"`)
	b.await(slice + `.querySelector(".faults").textContent === "" && ` + all + `.querySelector("[data-toggle=dns]").ariaPressed === "false"`)
	b.do(chromedp.KeyEvent(" "))
	b.await(firstRow + `.endsWith("clusteripDNS up") && ` + nothing)

	// Two presses are two pods.
	more := chromedp.CSS(`[data-overlay=endpointslice] [data-scale="1"]`)
	b.do(chromedp.Click(more), chromedp.Click(more))
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
	b.do(chromedp.Click(chromedp.CSS(`[data-toggle=api-server]`)))
	b.await(slice + `.querySelector(".faults").textContent.includes("API server down")`)
	b.pictures("faults")
}
