//go:build browser

// Package browsertest opens pages in Chromium for tests: it listens to what the browser has to say of them, waits for
// what they show, and takes pictures. Without the build tag browser there is no such package, so that no program can
// have it.
package browsertest

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

// Screenshots is the variable that names a folder to keep the pictures in that tests take. Each test has a folder of
// its own there.
const Screenshots = "SCREENSHOTS"

// height is that of every window, in CSS pixels.
const height = 1000

// Page is what a test opens.
type Page struct {
	URL string
	// Width is the window's at first, in CSS pixels.
	Width int64
	// Scheme is the theme that the system prefers at first, "light" or "dark".
	Scheme string
	// Own says of a URL whether the page may ask for it. It always may for data.
	Own func(url string) bool
	// Excused are parts of complaints that the test provokes.
	Excused []string
}

// Tab is a page in a browser of its own, and what the browser had to say of it.
type Tab struct {
	testing.TB
	Page

	// Context is for steps of chromedp that are not here.
	Context context.Context

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// Open starts a browser with the page. The test fails if at its end the page has complained, or has asked for anything
// that is not its own.
func Open(t testing.TB, page Page) *Tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	ctx, stop := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(stop)
	allocator, free := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(free)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &Tab{TB: t, Page: page, Context: ctx}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.Window(page.Width, page.Scheme)
	b.Do(chromedp.Navigate(page.URL))
	t.Cleanup(b.judge)

	return b
}

func (b *Tab) hear(event any) {
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

// judge is the end of every test.
func (b *Tab) judge() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		if !slices.ContainsFunc(b.Excused, func(part string) bool { return strings.Contains(complaint, part) }) {
			b.Errorf("the browser complains: %s", complaint)
		}
	}
	for _, url := range b.requests {
		if !b.Own(url) && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.Errorf("the page requests %s", url)
		}
	}
	if len(b.requests) == 0 {
		b.Error("no request was heard of")
	}
}

// Do takes steps in the page, or fails the test.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.Context, steps...); err != nil {
		b.Fatal(err)
	}
}

// Value is that of an expression in the page, or of what its promise brings.
func Value[T any](b *Tab, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.Context, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}

	return v
}

// Wait waits until an expression is true, asked at each change of the page or of its window.
func (b *Tab) Wait(within time.Duration, expression string) {
	b.Helper()
	met := Value[bool](b, fmt.Sprintf(`new Promise(done => {
		const met = () => { try { return Boolean(%s) } catch { return false } };
		if (met()) return done(true);
		const look = () => met() && end(true);
		const observer = new MutationObserver(look);
		const timer = setTimeout(() => end(met()), %d);
		const end = result => { observer.disconnect(); removeEventListener("resize", look); clearTimeout(timer); done(result) };
		addEventListener("resize", look);
		observer.observe(document, {subtree: true, childList: true, characterData: true, attributes: true}) })`, expression, within.Milliseconds()))
	if !met {
		b.Fatalf("not within %v: %s\nthe page says:\n%s", within, expression, Value[string](b, `document.querySelector("main").innerText`))
	}
}

// Window gives the window a width, and its system a preference: "light" or "dark".
func (b *Tab) Window(width int64, scheme string) {
	b.Helper()
	b.Width, b.Scheme = width, scheme
	b.Medium("screen", scheme)
	b.Do(chromedp.EmulateViewport(width, height))
}

// Medium is what the page is shown on, "screen" or "print".
func (b *Tab) Medium(medium, scheme string) {
	b.Helper()
	_, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Picture takes the whole page.
func (b *Tab) Picture(name string) {
	b.Helper()
	text, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(text)); err != nil {
		b.Fatal(err)
	}
	b.Keep(name, text)
}

// Keep writes a file into the test's folder of pictures.
func (b *Tab) Keep(name string, text []byte) {
	b.Helper()
	folder := b.TempDir()
	if kept := os.Getenv(Screenshots); kept != "" {
		folder = filepath.Join(kept, b.Name())
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
		b.Fatal(err)
	}
}
