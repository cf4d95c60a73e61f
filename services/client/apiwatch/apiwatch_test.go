package apiwatch

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestATargetWithoutANamespaceGetsTheOneThatWasGiven(t *testing.T) {
	for target, want := range map[string]string{
		"kubernetes:///rng:grpc":                       "kubernetes://prod/rng:grpc",
		"kubernetes:///rng":                            "kubernetes://prod/rng",
		"kubernetes:///rng:8081":                       "kubernetes://prod/rng:8081",
		"kubernetes://rng:8081":                        "kubernetes://prod/rng:8081",
		"kubernetes://rng":                             "kubernetes://prod/rng",
		"kubernetes:rng:grpc":                          "kubernetes://prod/rng:grpc",
		"kubernetes:///rng.dev:grpc":                   "kubernetes:///rng.dev:grpc",
		"kubernetes:///rng.dev.svc.cluster.local:grpc": "kubernetes:///rng.dev.svc.cluster.local:grpc",
		"kubernetes://rng.dev:8081":                    "kubernetes://rng.dev:8081",
		"kubernetes://rng.dev:8081/":                   "kubernetes://rng.dev:8081/",
		"kubernetes://dev/rng:grpc":                    "kubernetes://dev/rng:grpc",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got := complete(resolver.Target{URL: *u}, "prod")
		if got.URL.String() != want {
			t.Errorf("%s: %s, want %s", target, &got.URL, want)
		}
		if same := complete(resolver.Target{URL: *u}, ""); same.URL != *u {
			t.Errorf("%s without a namespace to give: %s", target, &same.URL)
		}
	}
}

// api stands in for the part of the Kubernetes API that the resolvers use: one Service
// with one endpoint, whatever its name.
type api struct {
	mu       sync.Mutex
	requests []string // "Authorization path", in order
	hang     chan struct{}
	endpoint *net.TCPAddr
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r.Header.Get("Authorization")+" "+r.URL.Path)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/endpointslices") {
		const kind = `"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"`
		fmt.Fprintf(w, `{"type": "ADDED", "object": {%s, "metadata": {"name": "x", "resourceVersion": "1"}, "addressType": "IPv4",
			"endpoints": [{"addresses": [%q]}], "ports": [{"name": "grpc", "port": %d}]}}`+"\n", kind, a.endpoint.IP, a.endpoint.Port)
		fmt.Fprintf(w, `{"type": "BOOKMARK", "object": {%s, "metadata": {"resourceVersion": "1",
			"annotations": {"k8s.io/initial-events-end": "true"}}}}`+"\n", kind)
	} else {
		fmt.Fprintf(w, `{"type": "ADDED", "object": {"kind": "Endpoints", "subsets": [
			{"addresses": [{"ip": %q}], "ports": [{"name": "grpc", "port": %d}]}]}}`+"\n", a.endpoint.IP, a.endpoint.Port)
	}
	_ = http.NewResponseController(w).Flush()
	select {
	case <-a.hang:
	case <-r.Context().Done():
	}
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()

	return append([]string(nil), a.requests...)
}

// plain serves an API over HTTP.
func plain(t *testing.T) (a *api, url string) {
	t.Helper()
	a = &api{hang: make(chan struct{}), endpoint: backend(t)}
	server := httptest.NewServer(a)
	t.Cleanup(func() {
		close(a.hang)
		server.Close()
	})

	return a, server.URL
}

// secured serves one over TLS, and returns what a client needs to ask it.
func secured(t *testing.T) (*api, Config) {
	t.Helper()
	a := &api{hang: make(chan struct{}), endpoint: backend(t)}
	server := httptest.NewTLSServer(a)
	t.Cleanup(func() {
		close(a.hang)
		server.Close()
	})
	dir := t.TempDir()
	c := Config{
		API: server.URL + "/", Namespace: "prod",
		TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt"),
	}
	writeFile(t, c.TokenFile, "first\n")
	writeFile(t, c.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))

	return a, c
}

func backend(t *testing.T) *net.TCPAddr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})

	return listener.Addr().(*net.TCPAddr)
}

func check(t *testing.T, target string) error {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))

	return err
}

// reset puts the scheme back as it was at the start of the program.
func reset(t *testing.T) {
	t.Cleanup(func() { _ = Config{}.Register() })
}

func TestEndpointsAreWatchedAsTheOwnerOfTheTokenInTheNamespaceThatWasGiven(t *testing.T) {
	reset(t)
	a, c := secured(t)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := c.Register(); err != nil {
		t.Fatal(err)
	}
	if err := check(t, "kubernetes:///rng-headless:grpc"); err != nil {
		t.Fatal(err)
	}
	// The token is replaced while the program runs.
	writeFile(t, c.TokenFile, "second")
	if err := check(t, "kubernetes:///geoip-headless.dev:grpc"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Bearer first /api/v1/watch/namespaces/prod/endpoints/rng-headless",
		"Bearer second /api/v1/watch/namespaces/dev/endpoints/geoip-headless",
	}
	if got := a.seen(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the API was asked %q, want %q", got, want)
	}
}

func TestEndpointSlicesAreWatchedAsTheOwnerOfTheTokenToo(t *testing.T) {
	reset(t)
	a, c := secured(t)
	if err := c.Register(); err != nil {
		t.Fatal(err)
	}
	if err := check(t, "endpointslice:///rng-headless:grpc"); err != nil {
		t.Fatal(err)
	}
	want := []string{"Bearer first /apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"}
	if got := a.seen(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the API was asked %q, want %q", got, want)
	}
}

func TestAZoneMakesItPossibleToPreferIt(t *testing.T) {
	reset(t)
	_, url := plain(t)
	const target = "endpointslice:///rng-headless:grpc?zone=prefer"
	if err := (Config{API: url}).CanResolve(target); err == nil || !strings.Contains(err.Error(), "--zone") {
		t.Errorf("without a zone: %v", err)
	}
	c := Config{API: url, Zone: "a"}
	if err := c.CanResolve(target); err != nil {
		t.Errorf("with a zone: %v", err)
	}
	if err := c.Register(); err != nil {
		t.Fatal(err)
	}
	if err := check(t, target); err != nil {
		t.Errorf("with a zone: %v", err)
	}
}

func TestWithoutATokenNoneIsSent(t *testing.T) {
	reset(t)
	a, url := plain(t)
	if err := (Config{API: url, Namespace: "prod"}).Register(); err != nil {
		t.Fatal(err)
	}
	if err := check(t, "kubernetes:///rng-headless:grpc"); err != nil {
		t.Fatal(err)
	}
	if got := a.seen(); len(got) != 1 || !strings.HasPrefix(got[0], " /api") {
		t.Errorf("the API was asked %q", got)
	}
}

func TestARequestWithoutAReadableTokenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "x")
	client, err := newAPIClient(Config{API: "http://127.0.0.1:1", TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetRequest("http://127.0.0.1:1/api"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v: want an error that names the file", err)
	}
	if _, err := client.GetRequest("http://127.0.0.1:1/%zz"); err == nil {
		t.Error("a URL that is none was taken")
	}
}

func TestOutsideAClusterTheSchemeNeedsAnAPI(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	const dns = "dns:///rng:8081"
	targets := []string{"kubernetes:///rng:grpc", "endpointslice:///rng:grpc", "EndpointSlice:///rng:grpc"}
	for _, target := range targets {
		if err := (Config{}).CanResolve(target); err == nil || !strings.Contains(err.Error(), "--kubernetes-api") {
			t.Errorf("outside, %s: %v", target, err)
		}
		if err := (Config{API: "http://127.0.0.1:1"}).CanResolve(target); err != nil {
			t.Errorf("with an API, %s: %v", target, err)
		}
	}
	if err := (Config{}).CanResolve(dns); err != nil {
		t.Errorf("%s: %v", dns, err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	for _, target := range targets {
		if err := (Config{}).CanResolve(target); err != nil {
			t.Errorf("inside, %s: %v", target, err)
		}
	}
}

func TestFlagsThatCannotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	empty, two, token := filepath.Join(dir, "empty"), filepath.Join(dir, "two"), filepath.Join(dir, "token")
	writeFile(t, empty, "\n")
	writeFile(t, two, "one\ntwo\n")
	writeFile(t, token, "secret")
	const server = "https://10.96.0.1"
	for _, test := range []struct {
		name, want string
		config     Config
	}{
		{"no scheme", "--kubernetes-api: \"10.96.0.1:443\"", Config{API: "10.96.0.1:443"}},
		{"another scheme", "--kubernetes-api", Config{API: "ftp://x"}},
		{"no host", "--kubernetes-api", Config{API: "https://"}},
		{"a query", "--kubernetes-api", Config{API: "https://x?y"}},
		{"a token without an API", "--kubernetes-token-file", Config{TokenFile: token}},
		{"certificates without an API", "--kubernetes-ca-file", Config{CAFile: token}},
		{"no such token", "missing\" cannot be read", Config{API: server, TokenFile: filepath.Join(dir, "missing")}},
		{"an empty token", "does not hold a bearer token", Config{API: server, TokenFile: empty}},
		{"two tokens", "does not hold a bearer token", Config{API: server, TokenFile: two}},
		{"a folder for a token", "cannot be read", Config{API: server, TokenFile: dir}},
		{"no such certificates", "--kubernetes-ca-file", Config{API: server, CAFile: filepath.Join(dir, "missing")}},
		{"certificates that are none", "holds no certificate", Config{API: server, CAFile: token}},
	} {
		err := test.config.Validate()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ...%s...", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the token: %v", test.name, err)
		}
	}
	if err := (Config{API: server, TokenFile: token}).Validate(); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
