//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/services/client/status"
)

// atOnce is how many overlays are tested side by side: two cores carry the pods and the load of so many, and when a node
// is drained, the other has room for all of their pods.
const atOnce = 5

// TestOverlays applies overlays as their READMEs say, and does to them what a day brings. They became ready under Pod
// Security "restricted" and without a warning of the API server, or a README's command has failed.
func TestOverlays(t *testing.T) {
	record := newRecord()
	defer record.write(t)
	var server sync.Once // it is the same in all overlays
	for group := range slices.Chunk(all, atOnce) {
		t.Run(strings.Join(group, ","), func(t *testing.T) {
			overlays := named(t, group...)
			eachInParallel(t, overlays, "its README's commands run as they are written", overlay.runsItsREADME)
			if t.Failed() {
				return // there is nothing to do anything to
			}
			if err := each(t.Context(), overlays, func(ctx context.Context, o overlay) error { return o.begin(ctx) }); err != nil {
				t.Fatal(err)
			}
			eachInParallel(t, overlays, "runs under Pod Security restricted", overlay.isRestricted)
			eachInParallel(t, overlays, "may do exactly what its Roles say", overlay.mayDoWhatRolesSay)
			eachInParallel(t, overlays, "has a token for the API only where it needs one", overlay.hasTokensWhereNeeded)
			eachInParallel(t, overlays, "spreads RPCs as its strategy does", overlay.spreads)
			t.Run("a minute without DNS costs nobody an RPC", func(t *testing.T) { withoutDNS(t, overlays) })
			for _, c := range changes {
				t.Run(c.name, func(t *testing.T) { c.test(t, overlays, record) })
			}
			server.Do(func() { t.Run("a deleted pod leaves in good order", overlays[0].shutsDown) })
			eachInParallel(t, overlays, "without its RoleBinding, the client says what it lacks", overlay.saysWhatItLacks)
		})
	}
}

// eachInParallel runs a test of each overlay, all at once, and waits for them.
func eachInParallel(t *testing.T, overlays []overlay, name string, test func(overlay, *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		for _, o := range overlays {
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				test(o, t)
			})
		}
	})
}

func (o overlay) isRestricted(t *testing.T) {
	namespace, err := api.CoreV1().Namespaces().Get(t.Context(), o.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
		t.Errorf("the namespace enforces %q", level)
	}
}

// perPod is how many RPCs each pod gets, on average, in the window in which their spread is judged: as many as
// grpc/psm-interop takes for its rule, that round_robin gives each backend that number, or one more, or one less.
const perPod = 100

// spreads wants the spread that a strategy promises while nothing changes. Two RPCs of which one overtook the other at the
// edge of a window are on the wrong sides of it, so the rule may hold only for the next window or the one after; for
// RPCs that are spread in any other way it does so once in many.
func (o overlay) spreads(t *testing.T) {
	for _, service := range services {
		pods, err := o.pods(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		var seen error
		for range 3 {
			before, err := o.report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := int64(perPod * len(pods))
			if service == "geoip" {
				want /= 10 // at a tenth of rng's rate; the rule is a matter of rng
			}
			s, err := o.after(t.Context(), service, before[service], want)
			if err != nil {
				t.Fatal(err)
			}
			if s.failed > 0 {
				t.Errorf("%s: %d of %d RPCs failed, although nothing changes: %s", service, s.failed, s.rpcs, s.lastError)
			}
			if seen = o.judge(before[service], s, pods); seen == nil {
				t.Logf("%s: %d RPCs, by pod %v", service, s.rpcs, slices.Sorted(maps.Values(s.byPod)))

				break
			}
		}
		if seen != nil {
			t.Errorf("%s: %v", service, seen)
		}
	}
}

func (o overlay) judge(client status.ServiceReport, s since, pods []corev1.Pod) error {
	ages := strings.HasSuffix(o.name, "max-connection-age") // each connection that ends begins the round anew
	switch {
	case roundRobin(client.ServiceConfig) && !ages:
		return s.uneven(pods)
	case o.name == "consistent-hash" && client.Service == "rng", roundRobin(client.ServiceConfig):
		if len(s.byPod) != len(pods) {
			return fmt.Errorf("%d of %d pods had RPCs: %v", len(s.byPod), len(pods), s.byPod)
		}
	case o.name == "clusterip":
		if len(s.byPod) != 1 || client.Connections != 1 {
			return fmt.Errorf("%d pods had RPCs, by %d connections: %v", len(s.byPod), client.Connections, s.byPod)
		}
	case len(s.byPod) == 0:
		return errors.New("no pod had an RPC")
	}

	return nil
}

// holdsThrough wants no RPC of any overlay to fail while something goes on.
func holdsThrough(t *testing.T, overlays []overlay, what func()) {
	t.Helper()
	reports := func() map[string]map[string]status.ServiceReport {
		out := map[string]map[string]status.ServiceReport{}
		var mu sync.Mutex
		if err := each(t.Context(), overlays, func(ctx context.Context, o overlay) error {
			report, err := o.report(ctx)
			mu.Lock()
			defer mu.Unlock()
			out[o.name] = report

			return err
		}); err != nil {
			t.Fatal(err)
		}

		return out
	}
	before := reports()
	what()
	after := reports()
	if err := each(t.Context(), overlays, func(ctx context.Context, o overlay) error {
		var errs []error
		for _, service := range services {
			// What was in flight counts as well: two seconds more, of RPCs that may take one.
			now := after[o.name][service]
			rest, err := o.after(ctx, service, now, int64(2*now.Rate))
			if err != nil {
				return err
			}
			s := between(before[o.name][service], now)
			outcome := fmt.Sprintf("%s: %d of %d RPCs failed", service, s.failed+rest.failed, s.rpcs+rest.rpcs)
			t.Logf("%-35s %s", o.name, outcome)
			if s.failed+rest.failed > 0 || s.rpcs < 100 {
				errs = append(errs, fmt.Errorf("%s: %s", outcome, rest.lastError))
			}
		}

		return errors.Join(errs...)
	}); err != nil {
		t.Error(err)
	}
}

// pass lets time go by, and tells how much.
func pass(t *testing.T, d time.Duration, what string) {
	t.Helper()
	t.Logf("%s, for %s", what, d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// dns is the Deployment of the cluster's DNS.
const dns = "deployment/coredns"

func scaleDNS(ctx context.Context, replicas string) error {
	_, err := kubectl(ctx, "-n", "kube-system", "scale", dns, "--replicas="+replicas)

	return err
}

func withoutDNS(t *testing.T, overlays []overlay) {
	t.Cleanup(func() {
		if err := scaleDNS(context.WithoutCancel(t.Context()), dnsReplicas); err != nil {
			t.Error(err)
		}
	})
	holdsThrough(t, overlays, func() {
		if err := scaleDNS(t.Context(), "0"); err != nil {
			t.Fatal(err)
		}
		if err := eventually(t.Context(), func(ctx context.Context) error {
			pods, err := kubectl(ctx, "-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "name")
			if err == nil && pods != "" {
				err = fmt.Errorf("there still are %s", pods)
			}

			return err
		}); err != nil {
			t.Fatal(err)
		}
		pass(t, time.Minute, "no DNS server is left")
		if err := scaleDNS(t.Context(), dnsReplicas); err != nil {
			t.Fatal(err)
		}
		must(t, "-n", "kube-system", "rollout", "status", dns, "--timeout=2m")
		// Look-ups that were made without a DNS server may end, or be made again, only now.
		pass(t, 10*time.Second, "DNS is back")
	})
}
