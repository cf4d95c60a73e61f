package observability_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
	"github.com/evenkeel/evenkeel/deploy/observability/check"
	"github.com/evenkeel/evenkeel/resolver/endpointslice"
	"github.com/evenkeel/evenkeel/resolver/srv"
	"github.com/evenkeel/evenkeel/services/client/channel"
	"github.com/evenkeel/evenkeel/services/client/status"
)

// exported are the names of the metrics that the programs have: those in a scrape of each of them under load, and those of the
// client that are only there once something has happened.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, page := range scrapes(t) {
		for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(page, -1) {
			names[match[1]] = true
		}
	}
	descs := make(chan *prometheus.Desc, 100)
	channel.NewSubchannels(registerer{descs})
	for _, collector := range []prometheus.Collector{
		endpointslice.Collector(), srv.Collector(), consistenthash.Collector(), status.NewMetrics(nil),
	} {
		collector.Describe(descs)
	}
	close(descs)
	for desc := range descs {
		names[regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch(desc.String())[1]] = true
	}

	return names
}

// registerer describes what is registered.
type registerer struct{ descs chan<- *prometheus.Desc }

func (r registerer) Register(c prometheus.Collector) error { c.Describe(r.descs); return nil }
func (r registerer) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		c.Describe(r.descs)
	}
}
func (registerer) Unregister(prometheus.Collector) bool { return false }

// scrapes are the metrics of rng, geoip and a client that calls them, as processes.
func scrapes(t *testing.T) []string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", folder,
		"../../services/rng", "../../services/geoip", "../../services/client").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rng, geoip := free(t), free(t)
	admin := []string{free(t), free(t), free(t)}
	start(t, folder, "rng", "--port="+rng, "--admin-port="+admin[0])
	start(t, folder, "geoip", "--port="+geoip, "--admin-port="+admin[1])
	start(t, folder, "client", "--rng-target=dns:///127.0.0.1:"+rng, "--geoip-target=dns:///127.0.0.1:"+geoip, "--admin-port="+admin[2])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pages := make([]string, len(admin))
	for i, port := range admin {
		// The servers have no counters of RPCs before they had some.
		for !strings.Contains(pages[i], "grpc_server_call_duration_seconds") && !strings.Contains(pages[i], "grpc_subchannel_open_connections") {
			if ctx.Err() != nil {
				t.Fatalf("no RPC is counted in a minute: %s", pages[i])
			}
			pages[i] = get(ctx, "http://127.0.0.1:"+port+"/metrics")
		}
	}

	return pages
}

func start(t *testing.T, folder, name string, args ...string) {
	t.Helper()
	process := exec.Command(filepath.Join(folder, name), append(args, "--bind-address=127.0.0.1")...)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := process.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}

func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

func get(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	page, _ := io.ReadAll(response.Body)

	return string(page)
}

func TestEveryQueryIsAboutMetricsThatThereAre(t *testing.T) {
	queries := map[string]string{}
	names := exported(t)
	for _, rule := range rules(t) {
		queries[rule.Record+rule.Alert+rule.Labels["resolver"]] = rule.Expr
		names[rule.Record] = true
	}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				queries[d.File+": "+p.Title+" "+target.RefID] = target.Expr
			}
		}
	}
	for _, document := range []string{"metrics", "troubleshooting"} {
		examples, err := check.Examples("../../docs/" + document + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for i, query := range examples {
			queries[fmt.Sprintf("docs/%s.md, line %d of queries", document, i+1)] = query
		}
	}
	if len(queries) < 40 {
		t.Fatalf("there are %d queries", len(queries))
	}
	for where, query := range queries {
		metrics := check.Metrics(query)
		if len(metrics) == 0 {
			t.Errorf("%s: no metric in %s", where, query)
		}
		for _, metric := range metrics {
			base := metric
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !names[metric] && !names[base] {
				t.Errorf("%s: nobody exports %s: %s", where, metric, query)
			}
		}
	}
}

func TestTheDocumentListsEveryMetricOfOurs(t *testing.T) {
	document := read(t, "../../docs/metrics.md")
	for name := range exported(t) {
		ours := !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "promhttp_")
		if ours && !strings.Contains(document, "| `"+name+"` |") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
}
