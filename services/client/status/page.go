package status

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"count":   count,
	"ms":      milliseconds,
	"percent": percent,
	"clock":   func(t time.Time) string { return t.Format("15:04:05.000") },
	"since":   func(seconds float64) string { return time.Duration(seconds * 1e9).Round(time.Second).String() },
	"share":   share,
}).Parse(pageHTML))

// ServePage answers with a page that shows the report and keeps itself current. It
// asks no other host for anything.
func ServePage(services []Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var text bytes.Buffer
		if err := page.Execute(&text, NewReport(services)); err != nil {
			http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)

			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:")
		// A reader that has gone away is no news.
		_, _ = w.Write(text.Bytes())
	})
}

// count writes a number with a thin space between groups of three digits.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}

	return fmt.Sprintf("%s\u202f%03d", count(n/1000), n%1000)
}

func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "–"
	case *ms < 10:
		return fmt.Sprintf("%.2f", *ms)
	case *ms < 100:
		return fmt.Sprintf("%.1f", *ms)
	default:
		return fmt.Sprintf("%.0f", *ms)
	}
}

// percent is how much of a whole a part is; a part that is there is never 0.
func percent(part, whole int64) string {
	switch p := share(part, whole); {
	case part == 0:
		return "0 %"
	case p < 0.01:
		return "<0.01 %"
	default:
		return fmt.Sprintf("%.2f %%", p)
	}
}

// share is part of whole in hundredths, for the width of a bar.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}

	return 100 * float64(part) / float64(whole)
}
