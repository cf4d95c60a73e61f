package controller

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
	"github.com/evenkeel/evenkeel/tools/lab/local/probe"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// realCluster has pods that are real processes: this test binary, as the server of kubelettest.
type realCluster struct {
	*Controller

	t *testing.T
}

func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &realCluster{t: t, Controller: New(apiserver.NewStore(), Options{Kubelet: kubelet.Options{
		Binaries: podspec.Binaries{"rng": exe}, NewAddress: new(kubelettest.Addresses).New, Folder: t.TempDir(),
	}})}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})

	return c
}

// endpoints has all endpoints of the one Service.
func (c *realCluster) endpoints() []discoveryv1.Endpoint {
	var all []discoveryv1.Endpoint
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns") {
		all = append(all, slice.Endpoints...)
	}

	return all
}

// waitFor looks at the endpoints at every change, until they are as they should be.
func (c *realCluster) waitFor(what string, ok func([]discoveryv1.Endpoint) bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		changed := c.store.Changed()
		endpoints := c.endpoints()
		if ok(endpoints) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("still not after %v: %s; there are %s", patience, what, describe(endpoints))
		}
	}
}

// watch looks at the endpoints at every change until it is stopped.
func (c *realCluster) watch(look func([]discoveryv1.Endpoint)) (stop func()) {
	end := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			changed := c.store.Changed()
			look(c.endpoints())
			select {
			case <-changed:
			case <-end:
				return
			}
		}
	})

	return func() {
		close(end)
		watching.Wait()
	}
}

func describe(endpoints []discoveryv1.Endpoint) string {
	var each []string
	for _, e := range endpoints {
		each = append(each, fmt.Sprintf("%s ready=%v serving=%v terminating=%v", e.TargetRef.Name, *e.Conditions.Ready, *e.Conditions.Serving, *e.Conditions.Terminating))
	}

	return strings.Join(each, ", ")
}

// only reports whether there are n endpoints and all are ready.
func only(n int) func([]discoveryv1.Endpoint) bool {
	return func(endpoints []discoveryv1.Endpoint) bool {
		return len(endpoints) == n && len(readyOf(endpoints)) == n
	}
}

// readyOf has the addresses of the ready endpoints by pod.
func readyOf(endpoints []discoveryv1.Endpoint) map[string]string {
	ready := make(map[string]string)
	for _, e := range endpoints {
		if *e.Conditions.Ready {
			ready[e.TargetRef.Name] = e.Addresses[0]
		}
	}

	return ready
}

func (c *realCluster) apply(objects ...apiserver.Object) {
	c.t.Helper()
	for _, object := range objects {
		if err := c.store.Put(object); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *realCluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// serves asks the server at an address whether it is healthy.
func serves(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	return probe.Network{}.Check(ctx, &corev1.Pod{Status: corev1.PodStatus{PodIP: address}}, &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: kubelettest.Port}},
	})
}

func TestADayOfRealPods(t *testing.T) {
	c := newRealCluster(t)
	c.apply(service("rng", nil), deployment(3, func(d *appsv1.Deployment) {
		container := &d.Spec.Template.Spec.Containers[0]
		container.Env = kubelettest.Env("well")
		container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	}))
	c.waitFor("three pods", only(3))

	t.Run("a rolling update keeps three pods ready, and they serve", func(t *testing.T) {
		before := readyOf(c.endpoints())
		stop := c.watch(func(endpoints []discoveryv1.Endpoint) {
			if ready := len(readyOf(endpoints)); ready < 3 || ready > 4 {
				t.Errorf("%d pods are ready: %s", ready, describe(endpoints))
			}
		})
		defer stop()
		c.must(c.Rollout(t.Context(), "ns", "rng"))
		c.waitFor("three new pods", func(endpoints []discoveryv1.Endpoint) bool {
			for name, address := range readyOf(endpoints) {
				if err := serves(t.Context(), address); err != nil && readyOf(c.endpoints())[name] != "" {
					t.Errorf("%s is ready but does not serve: %v", name, err)
				}
			}

			return only(3)(endpoints) && !slices.ContainsFunc(endpoints, func(e discoveryv1.Endpoint) bool { return before[e.TargetRef.Name] != "" })
		})
	})

	t.Run("a killed pod is replaced by one with a new name and address", func(t *testing.T) {
		before := readyOf(c.endpoints())
		killed, err := c.Kill(t.Context(), "ns", "rng", 1)
		c.must(err)
		if err := serves(t.Context(), before[killed[0]]); err == nil {
			t.Errorf("%s still serves", killed[0])
		}
		c.waitFor("three pods without the killed one", func(endpoints []discoveryv1.Endpoint) bool {
			return only(3)(endpoints) && readyOf(endpoints)[killed[0]] == ""
		})
		for name, address := range readyOf(c.endpoints()) {
			if name != killed[0] && address == before[killed[0]] {
				t.Errorf("%s has the address of the dead", name)
			}
		}
	})

	t.Run("down to zero, and back", func(t *testing.T) {
		c.must(c.Scale(t.Context(), "ns", "rng", 0))
		c.waitFor("three terminating pods that still serve", func(endpoints []discoveryv1.Endpoint) bool {
			return len(endpoints) == 3 && !slices.ContainsFunc(endpoints, func(e discoveryv1.Endpoint) bool {
				return *e.Conditions.Ready || !*e.Conditions.Serving || !*e.Conditions.Terminating
			})
		})
		c.waitFor("nothing", only(0))
		c.must(c.Scale(t.Context(), "ns", "rng", 3))
		c.waitFor("three pods", only(3))
	})

	t.Run("every life is told to its end", func(t *testing.T) {
		ends := make(map[string]int)
		addresses := make(map[netip.Addr]bool)
		for _, life := range c.Lives("ns") {
			ends[life.EndReason]++
			addresses[life.Address] = true
			times := []time.Time{life.CreatedAt, life.ReadyAt}
			switch life.EndReason {
			case "drained":
				times = append(times, life.UnreadyAt, life.EndedAt)
			case "killed": // it dies first, and then leaves the slice
				times = append(times, life.EndedAt, life.UnreadyAt)
			default:
				if !life.UnreadyAt.IsZero() || !life.EndedAt.IsZero() {
					t.Errorf("alive, and yet: %+v", life)
				}
			}
			if !slices.IsSortedFunc(times, time.Time.Compare) || slices.ContainsFunc(times, time.Time.IsZero) {
				t.Errorf("out of order: %+v", life)
			}
		}
		if ends["drained"] != 3+3 || ends["killed"] != 1 || ends[""] != 3 || len(addresses) != 10 {
			t.Errorf("ends %v, %d addresses", ends, len(addresses))
		}
	})
}
