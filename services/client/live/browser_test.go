//go:build browser

package live_test

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/internal/browsertest"
)

// tab is the page in a browser of its own.
type tab struct{ *browsertest.Tab }

// open loads the page at a width; a scheme is "light" or "dark".
func open(w *world, width int64, scheme string) tab {
	w.Helper()

	return tab{browsertest.Open(w.T, browsertest.Page{
		URL: w.base + "/", Width: width, Scheme: scheme,
		Own: func(url string) bool { return strings.HasPrefix(url, w.base+"/") },
		Excused: []string{
			// A value that is refused, and a client that has gone, are what some tests want.
			"status of 400", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED",
			// This one is about the tests' own look at the canvas.
			"willReadFrequently",
		},
	})}
}

func value[T any](b tab, expression string) T {
	b.Helper()

	return browsertest.Value[T](b.Tab, expression)
}

// pictures takes the page at both widths in both themes.
func (b tab) pictures(name string) {
	b.Helper()
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.Window(width, scheme)
			b.Picture(fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
		}
	}
}
