package up

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/tools/lab/render"
)

// proxy hands a request to the client of an overlay. The name of the host stays, so that for the client too its page
// and what the page sends to it are of one origin.
func (b *Board) proxy(w http.ResponseWriter, r *http.Request, o *overlay) {
	base, _, err := b.env.Client(o.Overlay.Overlay)
	if err == nil {
		var target *url.URL
		if target, err = url.Parse(base); err == nil {
			(&httputil.ReverseProxy{
				Rewrite: func(p *httputil.ProxyRequest) {
					p.SetURL(target)
					p.Out.Host = p.In.Host
				},
				Transport:     b.proxies,
				FlushInterval: -1, // at once: streams are to be seen as they come
				ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, err error) { noClient(w, o, err) },
			}).ServeHTTP(w, r)

			return
		}
	}
	noClient(w, o, err)
}

func noClient(w http.ResponseWriter, o *overlay, err error) {
	http.Error(w, fmt.Sprintf("the client of %s does not answer: %v", o.Name, err), http.StatusBadGateway)
}

// strategy is how an overlay's client finds and balances Service, as it says itself.
type strategy struct {
	Target, Policy string
	// Address is where the client itself serves its page.
	Address string
}

// strategyTimeout bounds the wait for a client that is ready to say what it does.
const strategyTimeout = 10 * time.Second

func readStrategy(ctx context.Context, env Environment, o *render.Overlay) (strategy, error) {
	ctx, cancel := context.WithTimeout(ctx, strategyTimeout)
	defer cancel()
	base, client, err := env.Client(o)
	if err != nil {
		return strategy{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/report", nil)
	if err != nil {
		return strategy{}, err
	}
	request.Close = true // nothing else is asked of it
	response, err := client.Do(request)
	if err != nil {
		return strategy{}, err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var report struct {
		Services []struct{ Service, Target, ServiceConfig string }
	}
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		return strategy{}, fmt.Errorf("%s: %s: a report that cannot be read: %w", request.URL, response.Status, err)
	}
	for _, s := range report.Services {
		if s.Service == Service {
			return strategy{s.Target, policy(s.ServiceConfig), base}, nil
		}
	}

	return strategy{}, fmt.Errorf("%s: it does not call %s", request.URL, Service)
}

// policy is the LB policy of a service config: the first of the list, since the client knows all that it accepts, or
// gRPC's default.
func policy(serviceConfig string) string {
	var config struct {
		LoadBalancingConfig []map[string]any `json:"loadBalancingConfig"`
	}
	if err := json.Unmarshal([]byte(serviceConfig), &config); err == nil && len(config.LoadBalancingConfig) > 0 {
		for name := range config.LoadBalancingConfig[0] {
			return name
		}
	}

	return "pick_first"
}

var (
	link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	// prefix is what overlays' READMEs begin with and the page has beside the sentence.
	prefix = regexp.MustCompile("^`[^`]*` and `[^`]*`: ")
)

// About reads what the README of an overlay or a component says of it in its first paragraph; "" without one.
func About(folder string) string {
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return "" // an overlay of somebody's own may have none
	}
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		if strings.HasPrefix(paragraph, "#") {
			continue
		}
		words := strings.Join(strings.Fields(prefix.ReplaceAllString(paragraph, "")), " ")
		words = strings.NewReplacer("`", "", "*", "", " - ", ": ").Replace(link.ReplaceAllString(words, "$1"))
		// A name, such as of the overlay that this one adds to, stays as it is.
		if first, size := utf8.DecodeRuneInString(words); prefix.MatchString(paragraph) {
			words = string(unicode.ToUpper(first)) + words[size:]
		}

		return words
	}

	return ""
}
