//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/services/client/status"
)

// overlay is one that is applied, in the namespace of its name.
type overlay struct{ name string }

// The services that an overlay's client calls.
var services = []string{"rng", "geoip"}

// named are overlays that are deleted at the end of the test.
func named(t *testing.T, names ...string) []overlay {
	t.Helper()
	var overlays []overlay
	for _, name := range names {
		overlays = append(overlays, overlay{name})
	}
	t.Cleanup(func() {
		if err := each(context.WithoutCancel(t.Context()), overlays, func(ctx context.Context, o overlay) error {
			_, err := kubectl(ctx, "delete", "-k", "kustomize/overlays/"+o.name, "--ignore-not-found", "--wait=false")

			return err
		}); err != nil {
			t.Error(err)
		}
	})

	return overlays
}

// begin has as many pods as the manifest says, and the client started anew when all of them are ready. So it knows all
// pods: one that looked its targets up when the first was ready may not know the others, and with DNS does not learn
// of them.
func (o overlay) begin(ctx context.Context) error {
	if _, err := kubectl(ctx, "-n", o.name, "scale", "deployment/rng", "--replicas=3"); err != nil {
		return err
	}
	for _, service := range services {
		if err := o.settled(ctx, service); err != nil {
			return err
		}
	}
	if _, err := kubectl(ctx, "-n", o.name, "rollout", "restart", "deployment/client"); err != nil {
		return err
	}
	_, err := kubectl(ctx, "-n", o.name, "rollout", "status", "deployment/client", "--timeout=2m")

	return err
}

// slowDown has the client send a third of the RPCs that its manifest asks for, so that two cores carry several overlays.
func (o overlay) slowDown(ctx context.Context) error {
	if _, err := kubectl(ctx, "-n", o.name, "set", "env", "deployment/client", "RNG_RATE=60", "GEOIP_RATE=6"); err != nil {
		return err
	}
	_, err := kubectl(ctx, "-n", o.name, "rollout", "status", "deployment/client", "--timeout=2m")

	return err
}

// each does something with all overlays at once, and joins the errors.
func each(ctx context.Context, overlays []overlay, do func(context.Context, overlay) error) error {
	errs := make([]error, len(overlays))
	var done sync.WaitGroup
	for i, o := range overlays {
		done.Go(func() {
			if err := do(ctx, o); err != nil {
				errs[i] = fmt.Errorf("%s: %w", o.name, err)
			}
		})
	}
	done.Wait()

	return errors.Join(errs...)
}

// report is what the client has measured since it started, by way of the API server.
func (o overlay) report(ctx context.Context) (map[string]status.ServiceReport, error) {
	raw, err := api.CoreV1().Services(o.name).ProxyGet("http", "client", "http-admin", "report", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("the client's report: %w", err)
	}
	var report status.Report
	if err := json.Unmarshal(raw, &report); err != nil {
		return nil, err
	}
	out := map[string]status.ServiceReport{}
	for _, service := range report.Services {
		out[service.Service] = service
	}
	for _, service := range services {
		if _, ok := out[service]; !ok {
			return nil, fmt.Errorf("the report has nothing of %s: %s", service, raw)
		}
	}

	return out, nil
}

// since is what happened between two reports on a service.
type since struct {
	rpcs, failed int64
	byCode       map[string]int64
	byPod        map[string]int64 // RPCs that ended with OK, of the pods that had any
	lastError    string
}

func between(before, after status.ServiceReport) since {
	s := since{
		rpcs: after.RPCs - before.RPCs, failed: after.Failed - before.Failed,
		byCode: map[string]int64{}, byPod: map[string]int64{}, lastError: after.LastError,
	}
	for code, n := range after.ErrorsByCode {
		if more := n - before.ErrorsByCode[code]; more > 0 {
			s.byCode[code] = more
		}
	}
	for _, pod := range after.Pods {
		s.byPod[pod.Name] += pod.RPCs
	}
	for _, pod := range before.Pods {
		s.byPod[pod.Name] -= pod.RPCs
	}
	for name, rpcs := range s.byPod {
		if rpcs == 0 || name == "" {
			delete(s.byPod, name)
		}
	}

	return s
}

// uneven says why RPCs are not spread over pods as round_robin does it, one more or less for each; nil if they are.
func (s since) uneven(pods []corev1.Pod) error {
	mean := float64(s.rpcs-s.failed) / float64(len(pods))
	for _, pod := range pods {
		if rpcs := s.byPod[pod.Name]; math.Abs(float64(rpcs)-mean) > 1 {
			return fmt.Errorf("%d of %d RPCs went to %s, and the mean is %.1f", rpcs, s.rpcs, pod.Name, mean)
		}
	}
	if len(s.byPod) != len(pods) {
		return fmt.Errorf("%d pods had RPCs, and there are %d: %v", len(s.byPod), len(pods), s.byPod)
	}

	return nil
}

// after waits until the client has sent more RPCs to a service since a report, and says what became of them.
func (o overlay) after(ctx context.Context, service string, before status.ServiceReport, more int64) (since, error) {
	var s since
	err := eventually(ctx, func(ctx context.Context) error {
		now, err := o.report(ctx)
		if err != nil {
			return err
		}
		if s = between(before, now[service]); s.rpcs < more {
			return fmt.Errorf("%d RPCs to %s instead of %d", s.rpcs, service, more)
		}

		return nil
	})

	return s, err
}

// pods are the pods of a workload, those that terminate included.
func (o overlay) pods(ctx context.Context, workload string) ([]corev1.Pod, error) {
	list, err := api.CoreV1().Pods(o.name).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + workload})
	if err != nil {
		return nil, err
	}

	return list.Items, nil
}

// settled waits until a workload has as many pods as it wants, all of them ready, and those on their way out are gone.
func (o overlay) settled(ctx context.Context, workload string) error {
	return eventually(ctx, func(ctx context.Context) error {
		deployment, err := api.AppsV1().Deployments(o.name).Get(ctx, workload, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pods, err := o.pods(ctx, workload)
		if err != nil {
			return err
		}
		want := *deployment.Spec.Replicas
		s := deployment.Status
		if s.ObservedGeneration < deployment.Generation || s.UpdatedReplicas != want || s.AvailableReplicas != want || len(pods) != int(want) {
			return fmt.Errorf("%s: %d of %d pods are there, %d of them new, %d available", workload, len(pods), want, s.UpdatedReplicas, s.AvailableReplicas)
		}

		return nil
	})
}

// roundRobin says that a service config asks for round_robin.
func roundRobin(serviceConfig string) bool { return strings.Contains(serviceConfig, `"round_robin"`) }
