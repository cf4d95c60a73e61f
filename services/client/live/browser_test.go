//go:build browser

package live_test

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
)

// These tests open the page in Chromium. LIVE_SCREENSHOTS names a folder to keep the
// pictures in that they take.

// tab is the page in a browser of its own, and what the browser had to say of it.
type tab struct {
	*testing.T

	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// open loads the page at a width; a scheme is "light" or "dark".
func open(w *world, width int64, scheme string) *tab {
	w.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	ctx, stop := context.WithTimeout(context.Background(), 6*time.Minute)
	w.Cleanup(stop)
	allocator, free := chromedp.NewExecAllocator(ctx, options...)
	w.Cleanup(free)
	ctx, closeTab := chromedp.NewContext(allocator)
	w.Cleanup(closeTab)
	b := &tab{T: w.T, ctx: ctx, url: w.base + "/"}
	w.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			w.Error(err)
		}
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		w.Fatal(err)
	}
	b.media(scheme)
	b.do(chromedp.EmulateViewport(width, 1000), chromedp.Navigate(b.url))
	w.Cleanup(b.quiet)

	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.complaints = append(b.complaints, text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// quiet is the end of a test: the page must not have complained, nor asked another host for anything.
func (b *tab) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		// A value that is refused, and a client that has gone, are what some tests want.
		if !strings.Contains(complaint, "status of 400") && !strings.Contains(complaint, "ERR_CONNECTION_REFUSED") && !strings.Contains(complaint, "ERR_INCOMPLETE_CHUNKED") &&
			!strings.Contains(complaint, "willReadFrequently") { // which is about the tests' own look at the canvas
			b.Errorf("the browser complains: %s", complaint)
		}
	}
	for _, url := range b.requests {
		if !strings.HasPrefix(url, b.url) && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.Errorf("the page requests %s", url)
		}
	}
	if len(b.requests) == 0 {
		b.Error("no request was heard of")
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

// wait waits until an expression is true, asked at each change of the page.
func (b *tab) wait(within time.Duration, expression string) {
	b.Helper()
	met := value[bool](b, fmt.Sprintf(`new Promise(done => {
		const met = () => { try { return Boolean(%s) } catch { return false } };
		if (met()) return done(true);
		const observer = new MutationObserver(() => met() && end(true));
		const timer = setTimeout(() => end(false), %d);
		const end = result => { observer.disconnect(); clearTimeout(timer); done(result) };
		observer.observe(document, {subtree: true, childList: true, characterData: true, attributes: true}) })`, expression, within.Milliseconds()))
	if !met {
		b.Fatalf("not within %v: %s\nthe page says:\n%s", within, expression, value[string](b, `document.querySelector("main").innerText`))
	}
}

func (b *tab) media(scheme string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: "screen", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// picture takes the whole page.
func (b *tab) picture(name string) {
	b.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(text)); err != nil {
		b.Fatal(err)
	}
	folder := os.Getenv("LIVE_SCREENSHOTS")
	if folder == "" {
		folder = b.TempDir()
	}
	if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
		b.Fatal(err)
	}
}

// pictures takes the page at both widths in both themes.
func (b *tab) pictures(name string) {
	b.Helper()
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.media(scheme)
			b.do(chromedp.EmulateViewport(width, 1000))
			b.picture(fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
		}
	}
}
