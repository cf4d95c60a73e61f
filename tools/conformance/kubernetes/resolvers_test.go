//go:build e2e

package kubernetes

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

var kuberesolver = flag.Bool("kuberesolver", true, "run the suite for kuberesolver too, whose results are logged")

// turns are for behaviours that do not wait for most of their time: more at once would only make each other late.
var turns = make(chan struct{}, 6)

// TestResolvers runs the suite. endpointslice must give the answers that the document has, which are of the stand-in;
// what becomes of kuberesolver is logged.
func TestResolvers(t *testing.T) {
	admin := administrator(t)
	var mu sync.Mutex
	results := map[string]conformance.Results{}
	t.Run("run", func(t *testing.T) {
		for _, r := range conformance.Resolvers() {
			results[r.Name] = conformance.Results{}
			if r.Module != "" && !*kuberesolver {
				continue
			}
			for _, b := range conformance.Behaviours() {
				t.Run(r.Name+"/"+b.Name, func(t *testing.T) {
					t.Parallel()
					if !b.Long {
						turns <- struct{}{}
						defer func() { <-turns }()
					}
					start := time.Now()
					result := run(t, b, r, admin)
					t.Logf("%s, %.1f s", result, time.Since(start).Seconds())
					if r.Module == "" && !result.Passed {
						t.Fail()
					}
					mu.Lock()
					defer mu.Unlock()
					results[r.Name][b.Name] = result
				})
			}
		}
	})
	t.Run("document", func(t *testing.T) {
		_, cells := conformance.Column(document(t), 1)
		for name, result := range results[conformance.Endpointslice().Name] {
			if got, want := result.String(), cells[name]; got != want {
				t.Errorf("%s: %q here, %q in the document", name, got, want)
			}
			// A resolver that begins anew does not meet it, and the behaviour would be about nothing.
			if strings.HasPrefix(name, "410") && expired(t, "") == 0 {
				t.Errorf("%s: the API server has not said it: see beforeHistory", name)
			}
		}
	})
}

// run runs a behaviour in a namespace of its own.
func run(t *testing.T, b conformance.Behaviour, r conformance.Resolver, admin *rest.Config) conformance.Result {
	t.Helper()
	cluster, err := New(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	}()

	return conformance.Run(t.Context(), b, r, cluster, t.TempDir())
}

// administrator is whom KUBECONFIG names.
func administrator(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatalf("KUBECONFIG: %v: it must name an API server and an administrator's credentials", err)
	}

	return config
}

// document is found from the package's folder, where `go test` runs, and from the root of the source tree.
func document(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(folder, "docs", "resolvers.md"))
		if err == nil {
			return string(text)
		}
		if folder == filepath.Dir(folder) {
			t.Fatalf("docs/resolvers.md: not in this folder or above it: run this in the source tree")
		}
		folder = filepath.Dir(folder)
	}
}
