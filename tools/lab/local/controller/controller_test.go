package controller

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
)

func TestScalingToZeroAndBackKeepsTheSlice(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.machine.Behave(kubelettest.Behaviour{Drain: time.Second})
		c.put(service("rng", nil), deployment(3, nil))
		c.after(time.Second)
		before := apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")

		c.must(c.Scale(c.t.Context(), "ns", "rng", 0))
		c.want("0 ready, 0 waiting, 3 terminating")
		c.after(time.Second)
		c.want("0 ready, 0 waiting, 0 terminating")
		empty := apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")
		if len(empty) != 1 || len(empty[0].Endpoints) != 0 || empty[0].Name != before[0].Name {
			t.Errorf("slices at zero: %+v", empty)
		}

		c.must(c.Scale(c.t.Context(), "ns", "rng", 3))
		c.after(time.Second)
		c.want("3 ready, 0 waiting, 0 terminating")
		if got := c.readyInSlices("rng"); len(got) != 3 {
			t.Errorf("ready in slices: %v", got)
		}
	})
}

func TestAKilledPodIsReplacedByANewOne(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(service("rng", nil), deployment(1, nil))
		c.after(10 * time.Second)
		c.must(c.Scale(c.t.Context(), "ns", "rng", 3))
		c.after(10 * time.Second)
		first := c.Lives("ns")[0]
		death := time.Now()

		killed, err := c.Kill(c.t.Context(), "ns", "rng", 1)
		c.must(err)

		if len(killed) != 1 || killed[0] != first.Name {
			t.Errorf("killed %v, want the oldest, %s", killed, first.Name)
		}
		c.want("2 ready, 1 waiting, 0 terminating")
		if got := c.machine.Events(first.Name); got[len(got)-1] != "SIGKILL@20s" || len(got) != 2 {
			t.Errorf("its process saw %v", got)
		}
		life := c.Lives("ns")[0]
		if life.EndReason != "killed" || !life.EndedAt.Equal(death) || !life.UnreadyAt.Equal(death) {
			t.Errorf("its life: %+v", life)
		}
		c.after(time.Second)
		c.want("3 ready, 0 waiting, 0 terminating")
	})
}

func TestFrozenPodsAreTheOldestAndGoOn(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(service("rng", nil), deployment(2, nil))
		c.after(time.Second)
		frozen, err := c.Freeze(c.t.Context(), "ns", "rng", 1, 10*time.Second)
		c.must(err)
		c.after(9 * time.Second)
		c.want("1 ready, 1 waiting, 0 terminating")
		c.after(3 * time.Second)
		c.want("2 ready, 0 waiting, 0 terminating")

		for _, life := range c.Lives("ns") {
			if life.Name == frozen[0] && (life.ReadyAt.Sub(c.begun) != 500*time.Millisecond || !life.UnreadyAt.IsZero()) {
				t.Errorf("ready again, its life is %+v", life)
			}
		}
	})
}

func TestALifeIsKeptAfterItsEnd(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.machine.Behave(kubelettest.Behaviour{Warmup: time.Second, Drain: 2 * time.Second})
		c.after(time.Second)
		c.put(service("rng", nil), service("rng-headless", nil), deployment(1, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
				PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}},
			}
		}))
		c.after(9 * time.Second)
		c.must(c.Scale(c.t.Context(), "ns", "rng", 0))
		c.after(10 * time.Second)

		lives := c.Lives("ns")
		if len(lives) != 1 {
			t.Fatalf("lives %+v", lives)
		}
		at := func(x time.Time) string { return x.Sub(c.begun).String() }
		life := lives[0]
		got := fmt.Sprint(life.Deployment, " ", at(life.CreatedAt), " ", at(life.ReadyAt), " ", at(life.UnreadyAt), " ", at(life.EndedAt), " ", life.EndReason)
		if want := "rng 1s 2.5s 10s 15s drained"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !life.Address.IsLoopback() {
			t.Errorf("address %v", life.Address)
		}
		if others := c.Lives("other"); len(others) != 0 {
			t.Errorf("in another namespace: %+v", others)
		}
	})
}

func TestPodsThatAreAliveAtTheEndHaveNoEnd(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(service("rng", nil), deployment(2, nil))
		c.after(time.Second)
		c.stop()
		err := <-c.result
		c.result <- err
		for _, life := range c.Lives("ns") {
			if !life.EndedAt.IsZero() || life.EndReason != "" || !life.UnreadyAt.IsZero() {
				t.Errorf("life %+v", life)
			}
		}
	})
}

func TestRestingControllersWriteNothing(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(service("rng", nil), deployment(3, nil))
		c.after(time.Minute)
		changed := c.store.Changed()
		c.after(10 * time.Minute)
		select {
		case <-changed:
			t.Error("something was written")
		default:
		}
	})
}

func TestACallThatCannotBeDoneSaysWhy(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(2, nil))
		c.after(time.Second)
		ctx := c.t.Context()
		for _, tt := range []struct {
			err  error
			want string
		}{
			{c.Scale(ctx, "ns", "rng", -1), "scale deployment ns/rng: -1 replicas: must be 0 or more"},
			{c.Scale(ctx, "ns", "geoip", 1), "scale deployment ns/geoip: it does not exist; there are: rng"},
			{c.Rollout(ctx, "other", "rng"), "roll out deployment other/rng: it does not exist; the namespace has none"},
			{second(c.Kill(ctx, "ns", "rng", 3)), "kill 3 pods of deployment ns/rng: only 2 are ready"},
			{second(c.Kill(ctx, "ns", "rng", 0)), "kill 0 pods of deployment ns/rng: must be 1 or more"},
			{second(c.Kill(ctx, "ns", "geoip", 1)), "kill 1 pods of deployment ns/geoip: it does not exist; there are: rng"},
			{second(c.Freeze(ctx, "ns", "rng", 5, time.Second)), "freeze 5 pods of deployment ns/rng: only 2 are ready"},
		} {
			if tt.err == nil || tt.err.Error() != tt.want {
				t.Errorf("got %v, want %s", tt.err, tt.want)
			}
		}
		c.want("2 ready, 0 waiting, 0 terminating")
	})
}

func second[T any](_ T, err error) error { return err }
