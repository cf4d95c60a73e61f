package up

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/palette"
)

//go:embed assets
var assets embed.FS

var pageTemplate = template.Must(template.ParseFS(assets, "assets/page.html.tmpl"))

// answer answers what is asked of the board itself.
func (b *Board) answer(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		b.servePage(w, r)
	case "GET /palette.css":
		http.ServeContent(w, r, "palette.css", time.Time{}, strings.NewReader(palette.CSS))
	case "GET /up.css", "GET /up.js":
		http.ServeFileFS(w, r, assets, path.Join("assets", r.URL.Path))
	case "GET /state":
		b.serveState(w, r)
	case "POST /step":
		b.serveStep(w, r)
	default:
		http.Error(w, fmt.Sprintf("%s %q is not accepted: give GET /, GET /state or POST /step", r.Method, r.URL.Path), http.StatusNotFound)
	}
}

func (b *Board) servePage(w http.ResponseWriter, r *http.Request) {
	_, port := split(r.Host)
	data := struct {
		Title    string
		Origin   string
		Service  string
		Overlays []pageOverlay
	}{Origin: "http://" + r.Host, Service: Service}
	var names []string
	for _, o := range b.overlays {
		host := o.Namespace + ".localhost"
		if port != "" {
			host = net.JoinHostPort(host, port)
		}
		names = append(names, o.Name)
		data.Overlays = append(data.Overlays, pageOverlay{overlay: o, Live: "http://" + host + "/"})
	}
	data.Title = strings.Join(slices.Clip(names), ", ")
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, data); err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)

		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
		"img-src data:; frame-src http://*.localhost:*; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	_, _ = w.Write(page.Bytes()) // a reader that has gone away is no news
}

type pageOverlay struct {
	*overlay
	// Live is where its client's page is.
	Live string
}
