package live

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"github.com/evenkeel/evenkeel/internal/palette"
	"github.com/evenkeel/evenkeel/services/client/load"
)

//go:embed assets
var assets embed.FS

var page = template.Must(template.New("page.html.tmpl").Funcs(template.FuncMap{
	"style":   func(name string) template.CSS { return template.CSS(palette.CSS + asset(name)) }, //nolint:gosec // our own files
	"script":  func(name string) template.JS { return template.JS(asset(name)) },                 //nolint:gosec // our own file
	"rate":    func(rps float64) string { return fmt.Sprintf("%.1f", rps) },
	"percent": func(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) },
}).ParseFS(assets, "assets/page.html.tmpl"))

func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		// The template is our own too: a name that is not embedded cannot be released.
		panic(err)
	}

	return string(text)
}

// ServePage answers with the page, which asks for nothing but the stream and the control of this
// server. Without scripts it is a table that comes anew every few seconds.
func (h *Hub) ServePage(controls bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		update, _ := h.since(0)
		var text bytes.Buffer
		err := page.Execute(&text, map[string]any{
			"Services": update.Services, "Controls": controls,
			"MaxRate": load.MaxRate, "MaxConcurrency": load.MaxConcurrency, "MaxPayload": load.MaxPayload,
		})
		if err != nil {
			http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)

			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+
			"script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'")
		// A reader that has gone away is no news.
		_, _ = w.Write(text.Bytes())
	})
}
