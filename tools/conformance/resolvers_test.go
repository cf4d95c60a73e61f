package conformance_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/grpclog"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

var write = flag.Bool("write", false, "write the table into "+document)

const document = "../../docs/resolvers.md"

func TestMain(m *testing.M) {
	flag.Parse()
	// kuberesolver reports to gRPC's log only, and is in trouble on purpose.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	// What Kubernetes' libraries do with errors that nobody handles includes a limit of one in a millisecond, by the time
	// since the last. Bubbles have clocks of their own, so that time may be years.
	utilruntime.ErrorHandlers = nil //nolint:reassign // it is there to be set
	goleak.VerifyTestMain(m,
		// kuberesolver's Close does not wait for the goroutine that reads the stream, which hangs for ever when it had
		// just read an event that nobody takes any more.
		goleak.IgnoreAnyFunction("github.com/sercand/kuberesolver/v5.(*streamWatcher).receive"),
		// One of the mistakes of this one is that Close waits for nothing.
		goleak.IgnoreAnyFunction("github.com/evenkeel/evenkeel/tools/conformance_test.naive.Build.func1"))
}

// TestResolvers runs the suite. endpointslice must pass all of it; what becomes of kuberesolver is recorded.
func TestResolvers(t *testing.T) {
	results := make([]conformance.Results, len(conformance.Resolvers()))
	t.Run("run", func(t *testing.T) {
		var mu sync.Mutex
		for i, r := range conformance.Resolvers() {
			results[i] = conformance.Results{}
			for _, b := range conformance.Behaviours() {
				t.Run(r.Name+"/"+b.Name, func(t *testing.T) {
					t.Parallel()
					result := run(t, b, r)
					switch {
					case r.Module != "":
						t.Log(result)
					case !result.Passed:
						t.Error(result.Seen)
					}
					mu.Lock()
					defer mu.Unlock()
					results[i][b.Name] = result
				})
			}
		}
	})
	t.Run("document", func(t *testing.T) {
		text := read(t, document)
		if *write {
			var columns []string
			for _, r := range conformance.Resolvers() {
				columns = append(columns, strings.TrimSpace(r.Name+" "+version(t, r.Module)))
			}
			spliced, err := conformance.Splice(text, conformance.Table(columns, results))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(document, []byte(spliced), 0o644); err != nil {
				t.Fatal(err)
			}

			return
		}
		_, cells := conformance.Column(text, 1)
		for name, result := range results[0] {
			if got, want := cells[name], result.String(); got != want {
				t.Errorf("%s: the document says %q, the run %q: run with -write", name, got, want)
			}
		}
	})
}

func TestTheDocumentHasEveryBehaviourAndTheVersionsOfGoMod(t *testing.T) {
	text := read(t, document)
	names, _ := conformance.Column(text, 2)
	want := []string{"behaviour"}
	for _, b := range conformance.Behaviours() {
		want = append(want, b.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("run with -write: %s", diff)
	}
	for _, r := range conformance.Resolvers() {
		if r.Module != "" && !strings.Contains(text, "| "+r.Name+" "+version(t, r.Module)+" |") {
			t.Errorf("the document has no column for %s %s: run with -write", r.Name, version(t, r.Module))
		}
	}
}

func TestBehavioursHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range conformance.Behaviours() {
		if seen[b.Name] || b.Name == "" {
			t.Errorf("%q stands twice", b.Name)
		}
		seen[b.Name] = true
	}
}

// run runs a behaviour on a stand-in of its own.
func run(t *testing.T, b conformance.Behaviour, r conformance.Resolver) (result conformance.Result) {
	t.Helper()
	folder := t.TempDir()
	if b.Sockets {
		cluster, err := conformance.Loopback()
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()

		return conformance.Run(t.Context(), b, r, cluster, folder)
	}
	defer func() {
		// A bubble whose goroutines all wait for one another, or that has some left at its end, panics out here. What
		// kuberesolver leaves is the matter of the behaviours about Close: it depends on chance.
		p, ended := recover(), result != conformance.Result{}
		if p != nil && (!ended || result.Passed && r.Module == "") {
			result = conformance.Failed("a goroutine is left or hangs: %v", p)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		cluster := conformance.Memory()
		defer cluster.Close()
		result = conformance.Run(t.Context(), b, r, cluster, folder)
	})

	return result
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

// version is that of a module in go.mod; "" for no module.
func version(t *testing.T, module string) string {
	t.Helper()
	if module == "" {
		return ""
	}
	for line := range strings.Lines(read(t, "../../go.mod")) {
		var path, version string
		if n, _ := fmt.Sscan(line, &path, &version); n == 2 && path == module {
			return version
		}
	}
	t.Fatalf("go.mod does not require %s", module)

	return ""
}
