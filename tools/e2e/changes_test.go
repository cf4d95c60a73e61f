//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/services/client/status"
)

// change is something that is done to the rng of overlays. All are graceful: Kubernetes asks pods to leave.
type change struct {
	name string
	make func(context.Context, []overlay) error
}

// changes are made one after the other.
var changes = []change{
	{"scale 3 to 6", scale(6)},
	{"scale 6 to 2", scale(2)},
	{"rolling restart", func(ctx context.Context, overlays []overlay) error {
		return each(ctx, overlays, func(ctx context.Context, o overlay) error {
			_, err := kubectl(ctx, "-n", o.name, "rollout", "restart", "deployment/rng")

			return err
		})
	}},
	{"delete pod", func(ctx context.Context, overlays []overlay) error {
		return each(ctx, overlays, func(ctx context.Context, o overlay) error {
			pods, err := o.pods(ctx, "rng")
			if err != nil {
				return err
			}
			_, err = kubectl(ctx, "-n", o.name, "delete", "pod", pods[0].Name)

			return err
		})
	}},
	{"drain one node", drain(0)},
	{"drain the other", drain(1)},
}

func scale(replicas int) func(context.Context, []overlay) error {
	return func(ctx context.Context, overlays []overlay) error {
		return each(ctx, overlays, func(ctx context.Context, o overlay) error {
			_, err := kubectl(ctx, "-n", o.name, "scale", "deployment/rng", fmt.Sprintf("--replicas=%d", replicas))

			return err
		})
	}
}

// drain drains one of the nodes that pods can be on, and lets pods come back. The PodDisruptionBudgets let one pod of a
// workload go at a time. The clients stay: they measure.
func drain(number int) func(context.Context, []overlay) error {
	return func(ctx context.Context, overlays []overlay) (err error) {
		nodes, err := workers(ctx)
		if err != nil {
			return err
		}
		node := nodes[number]
		defer func() {
			_, uncordoned := kubectl(context.WithoutCancel(ctx), "uncordon", node)
			err = cmp.Or(err, uncordoned)
		}()
		if _, err := kubectl(ctx, "drain", node, "--ignore-daemonsets", "--timeout=2m",
			"--pod-selector=app.kubernetes.io/name in (rng, geoip)"); err != nil {
			return err
		}

		return each(ctx, overlays, func(ctx context.Context, o overlay) error {
			if err := o.settled(ctx, "rng"); err != nil {
				return err
			}
			pods, err := o.pods(ctx, "rng")
			for _, pod := range pods {
				if pod.Spec.NodeName == node {
					err = fmt.Errorf("%s is on %s, which is drained", pod.Name, node)
				}
			}

			return err
		})
	}
}

// workers are the nodes that take pods, the first two of which have pods of every overlay on them.
func workers(ctx context.Context) ([]string, error) {
	list, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, node := range list.Items {
		if len(node.Spec.Taints) == 0 {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	if len(names) < 2 {
		return nil, fmt.Errorf("%d nodes take pods, and a drain needs 2: %v", len(names), names)
	}

	return names, nil
}

// recommended lose no RPC in any change; of the others it is recorded what they lose. Whoever copies one relies on it.
var recommended = []string{"endpointslice"}

// test makes the change to overlays, under load.
func (c change) test(t *testing.T, overlays []overlay, record *record) {
	results, err := c.under(t.Context(), overlays)
	if err != nil {
		t.Fatal(err)
	}
	for o, result := range results {
		t.Logf("%-35s %s", o, result)
		record.add(o, c.name, result)
		if slices.Contains(recommended, o) && (result.failed > 0 || result.spread != nil) {
			t.Errorf("%s: %s; %v; last error: %s", o, result, result.spread, result.lastError)
		}
	}
}

// result is what a change meant for the RPCs to rng of one overlay.
type result struct {
	since

	spread  error         // why they are not spread evenly at the end; nil if they are or need not be
	failing time.Duration // how long after the beginning of the change the last RPC failed; 0 if none did
}

func (r result) String() string {
	text := fmt.Sprintf("%d of %d RPCs failed", r.failed, r.rpcs)
	if r.failed > 0 {
		text += fmt.Sprintf(" (%v), the last after %.0f s", r.byCode, r.failing.Seconds())
	}

	return text
}

// quiet is how long nothing fails once a change is over for an overlay. gRPC looks a name up at most every 30 s, so
// that an outage which a strategy gets itself into by old addresses may end that late: it is waited for.
const (
	quiet  = 2 * time.Second
	outage = 45 * time.Second
)

func (c change) under(ctx context.Context, overlays []overlay) (map[string]result, error) {
	results := map[string]result{}
	before := map[string]status.ServiceReport{}
	for _, o := range overlays {
		report, err := o.report(ctx)
		if err != nil {
			return nil, err
		}
		before[o.name] = report["rng"]
	}
	began := time.Now()
	if err := c.make(ctx, overlays); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	err := each(ctx, overlays, func(ctx context.Context, o overlay) error {
		for _, service := range services {
			if err := o.settled(ctx, service); err != nil {
				return err
			}
		}
		after, last, err := o.calm(ctx)
		if err != nil {
			return err
		}
		r := result{since: between(before[o.name], after)}
		if r.failed > 0 && after.LastErrorAt != nil {
			r.failing = after.LastErrorAt.Sub(began)
		}
		if slices.Contains(recommended, o.name) {
			if r.spread, err = o.even(ctx, last); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		results[o.name] = r

		return nil
	})

	return results, err
}

// calm waits until nothing has failed for a while. It returns the report of then, and what happened in that while.
func (o overlay) calm(ctx context.Context) (now status.ServiceReport, last since, err error) {
	var start status.ServiceReport
	var began time.Time
	err = within(ctx, outage+quiet, func(ctx context.Context) error {
		report, err := o.report(ctx)
		if err != nil {
			return err
		}
		now = report["rng"]
		if began.IsZero() || now.Failed != start.Failed {
			start, began = now, time.Now()
		}
		last = between(start, now)
		if time.Since(began) < quiet {
			return fmt.Errorf("still failing: %d of %d", now.Failed, now.RPCs)
		}

		return nil
	})
	if ctx.Err() == nil && now.RPCs > 0 {
		err = nil // it fails and fails, and that is what is recorded
	}

	return now, last, err
}

// even says why RPCs are not spread over all pods as round_robin does it; nil if they are. As in spreads, a second and a
// third look are granted.
func (o overlay) even(ctx context.Context, s since) (uneven, err error) {
	pods, err := o.pods(ctx, "rng")
	if err != nil {
		return nil, err
	}
	for range 3 {
		if uneven = s.uneven(pods); uneven == nil {
			break
		}
		report, err := o.report(ctx)
		if err != nil {
			return nil, err
		}
		if s, err = o.after(ctx, "rng", report["rng"], int64(perPod*len(pods))); err != nil {
			return nil, err
		}
	}

	return uneven, nil
}

// record is what came of every change, by overlay.
type record struct {
	results map[string]map[string]result
}

func newRecord() *record { return &record{map[string]map[string]result{}} }

func (r *record) add(overlay, change string, what result) {
	if r.results[overlay] == nil {
		r.results[overlay] = map[string]result{}
	}
	r.results[overlay][change] = what
}

// write prints the record as a table, and writes it if a folder was given.
func (r *record) write(t *testing.T) {
	t.Helper()
	var table strings.Builder
	table.WriteString("| overlay |")
	for _, c := range changes {
		table.WriteString(" " + c.name + " |")
	}
	table.WriteString("\n| --- |" + strings.Repeat(" --- |", len(changes)) + "\n")
	for _, o := range slices.Sorted(maps.Keys(r.results)) {
		table.WriteString("| " + o + " |")
		for _, c := range changes {
			cell := "not measured"
			if result, ok := r.results[o][c.name]; ok {
				cell = fmt.Sprintf("%d of %d", result.failed, result.rpcs)
			}
			table.WriteString(" " + cell + " |")
		}
		table.WriteString("\n")
	}
	t.Logf("RPCs to rng that failed, by what was done to it:\n%s", table.String())
	if *outFolder == "" {
		return
	}
	if err := os.MkdirAll(filepath.Join(root, *outFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, *outFolder, "changes.md"), []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
