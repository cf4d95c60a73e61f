package controller

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
)

func TestADeploymentGetsItsPods(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(4, nil))
		c.want("0 ready, 4 waiting, 0 terminating")
		c.after(time.Second)
		c.want("4 ready, 0 waiting, 0 terminating")

		nodes, zones := make(map[string]int), make(map[string]int)
		for _, pod := range c.pods() {
			hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
			if suffix, ok := strings.CutPrefix(pod.Name, "rng-"+hash+"-"); !ok || len(suffix) != 5 || hash == "" {
				t.Errorf("pod %s with hash %s", pod.Name, hash)
			}
			owner := metav1.GetControllerOf(pod)
			if owner == nil || owner.Kind != "ReplicaSet" || owner.Name != "rng-"+hash {
				t.Errorf("owner %v", owner)
			}
			nodes[pod.Spec.NodeName]++
			zones[pod.Labels["topology.kubernetes.io/zone"]]++
		}
		if nodes["node-1"] != 2 || nodes["node-2"] != 2 || zones["a"] != 2 || zones["b"] != 2 {
			t.Errorf("on nodes %v in zones %v", nodes, zones)
		}
		d, _ := apiserver.Get[*appsv1.Deployment](c.store, "ns", "rng")
		want := appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 4, UpdatedReplicas: 4, ReadyReplicas: 4, AvailableReplicas: 4}
		if !sameJSON(d.Status, want) {
			t.Errorf("status %+v", d.Status)
		}
	})
}

func TestARollingUpdateNeverHasFewerReadyPodsThanItMay(t *testing.T) {
	for _, tt := range []struct {
		surge, unavailable     intstr.IntOrString
		fewestReady, mostAlive int
	}{
		{intstr.FromInt32(1), intstr.FromInt32(0), 4, 5},
		{intstr.FromInt32(0), intstr.FromInt32(1), 3, 4},
		{intstr.FromInt32(2), intstr.FromInt32(1), 3, 6},
		{intstr.FromString("25%"), intstr.FromString("25%"), 3, 5},
		{intstr.FromString("100%"), intstr.FromString("0%"), 4, 8},
		{intstr.FromString("30%"), intstr.FromString("30%"), 3, 6}, // up and down
		{intstr.FromInt32(0), intstr.FromString("1%"), 3, 4},       // both nothing: one may be unavailable
	} {
		t.Run(fmt.Sprint(tt.surge.String(), " ", tt.unavailable.String()), func(t *testing.T) {
			onCluster(t, func(c *cluster) {
				c.machine.Behave(kubelettest.Behaviour{Warmup: 2 * time.Second, Drain: 3 * time.Second})
				c.put(service("rng", nil), deployment(4, func(d *appsv1.Deployment) { d.Spec.Strategy = rolling(tt.surge, tt.unavailable) }))
				c.after(3 * time.Second)
				before := c.names()
				c.must(c.Rollout(c.t.Context(), "ns", "rng"))

				fewest, most := 4, 4
				c.each(30*time.Second, func() {
					alive := 0
					for _, pod := range c.pods() {
						if pod.DeletionTimestamp == nil {
							alive++
						}
					}
					fewest, most = min(fewest, len(c.readyInSlices("rng"))), max(most, alive)
				})

				if fewest != tt.fewestReady || most != tt.mostAlive {
					t.Errorf("at the least %d ready, at the most %d pods; want %d and %d", fewest, most, tt.fewestReady, tt.mostAlive)
				}
				c.want("4 ready, 0 waiting, 0 terminating")
				for _, name := range c.names() {
					if slices.Contains(before, name) {
						t.Errorf("%s is still there", name)
					}
				}
				d, _ := apiserver.Get[*appsv1.Deployment](c.store, "ns", "rng")
				if d.Generation != 2 || d.Status.ObservedGeneration != 2 || d.Status.UpdatedReplicas != 4 || d.Status.Replicas != 4 {
					t.Errorf("generation %d, status %+v", d.Generation, d.Status)
				}
			})
		})
	}
}

// The first five are those of upstream's own test of reconcileOldReplicaSets.
func TestOldPodsGoByUpstreamsRules(t *testing.T) {
	for _, tt := range []struct {
		name                                         string
		maxUnavailable                               int
		old, oldAvailable, current, currentAvailable int
		want                                         int
	}{
		{"as many as may be unavailable: one", 1, 10, 10, 0, 0, 9},
		{"as many as may be unavailable: two", 2, 10, 10, 0, 0, 8},
		{"those that are not available first", 2, 10, 8, 0, 0, 8},
		{"one that is not available, and one that is", 2, 10, 9, 0, 0, 8},
		{"none while new pods are on their way", 2, 8, 8, 2, 0, 8},
		{"not even a broken one while new pods are on their way", 2, 8, 6, 2, 0, 8},
		{"a broken one and a good one when they have come", 2, 8, 7, 2, 2, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := &replicaSet{replicas: tt.old, available: tt.oldAvailable}
			current := &replicaSet{replicas: tt.current, available: tt.currentAvailable}

			plan{replicas: 10, maxUnavailable: tt.maxUnavailable}.roll(current, []*replicaSet{old})

			if old.replicas != tt.want {
				t.Errorf("%d old pods are wanted, want %d", old.replicas, tt.want)
			}
		})
	}
}

func TestARolloutWaitsUntilNewPodsHaveBeenReadyForLongEnough(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(2, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 10 }))
		c.after(time.Minute)
		c.must(c.Rollout(c.t.Context(), "ns", "rng"))
		c.after(10 * time.Second)
		c.want("3 ready, 0 waiting, 0 terminating")
		c.after(time.Second) // ready after half a second, available ten later
		if got := len(c.sets["ns/rng"]); got != 2 {
			t.Errorf("%d ReplicaSets, want 2", got)
		}
		c.want("3 ready, 0 waiting, 0 terminating")
		c.after(10 * time.Second)
		c.want("2 ready, 0 waiting, 0 terminating")
		if got := len(c.sets["ns/rng"]); got != 1 {
			t.Errorf("%d ReplicaSets, want 1", got)
		}
	})
}

func TestANewVersionThatDoesNotWorkTakesNoPodAway(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(3, nil))
		c.after(time.Second)
		c.machine.Behave(kubelettest.Behaviour{Crash: 100 * time.Millisecond})
		c.must(c.Rollout(c.t.Context(), "ns", "rng"))
		c.after(10 * time.Minute)
		c.want("3 ready, 1 waiting, 0 terminating")

		// The next one does; the broken pod goes first, without waiting for anything.
		c.machine.Behave(kubelettest.Behaviour{Warmup: 5 * time.Second})
		c.must(c.Rollout(c.t.Context(), "ns", "rng"))
		c.after(time.Second)
		c.want("3 ready, 1 waiting, 0 terminating")
		c.after(time.Minute)
		c.want("3 ready, 0 waiting, 0 terminating")
	})
}

func TestRecreateEndsAllOldPodsFirst(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.machine.Behave(kubelettest.Behaviour{Drain: 5 * time.Second})
		c.put(deployment(3, func(d *appsv1.Deployment) {
			d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		}))
		c.after(time.Second)
		c.must(c.Rollout(c.t.Context(), "ns", "rng"))
		c.want("0 ready, 0 waiting, 3 terminating")
		c.after(4900 * time.Millisecond)
		c.want("0 ready, 0 waiting, 3 terminating")
		c.after(time.Second)
		c.want("3 ready, 0 waiting, 0 terminating")
	})
}

func TestScalingDownTakesWhatIsMissedLeast(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(2, nil))
		c.after(10 * time.Second)
		oldest := c.names()
		c.must(c.Scale(c.t.Context(), "ns", "rng", 3))
		c.after(10 * time.Second)
		c.must(c.Scale(c.t.Context(), "ns", "rng", 4))
		c.after(10 * time.Second)
		c.machine.SetHealthy(oldest[0], false)
		c.after(10 * time.Second)
		c.want("3 ready, 1 waiting, 0 terminating")

		lives := c.Lives("ns")
		c.must(c.Scale(c.t.Context(), "ns", "rng", 3))
		if _, there := apiserver.Get[*corev1.Pod](c.store, "ns", oldest[0]); there {
			t.Error("the pod that is not ready is still there")
		}
		c.must(c.Scale(c.t.Context(), "ns", "rng", 2))
		if _, there := apiserver.Get[*corev1.Pod](c.store, "ns", lives[3].Name); there {
			t.Error("the youngest pod is still there")
		}
		c.must(c.Scale(c.t.Context(), "ns", "rng", 1))
		if got := c.names(); len(got) != 1 || got[0] != oldest[1] {
			t.Errorf("left are %v, want %s", got, oldest[1])
		}
	})
}

func TestThePodsOfADeletedDeploymentGo(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.machine.Behave(kubelettest.Behaviour{Drain: time.Second})
		c.put(service("rng", nil), deployment(2, nil))
		c.after(time.Second)
		apiserver.Delete[*appsv1.Deployment](c.store, "ns", "rng")
		synctest.Wait()
		c.want("0 ready, 0 waiting, 2 terminating")
		c.after(time.Second)
		c.want("0 ready, 0 waiting, 0 terminating")
		if len(c.sets) != 0 {
			t.Errorf("ReplicaSets left: %v", slices.Collect(maps.Keys(c.sets)))
		}
	})
}

func TestADeploymentThatCannotBeEndsTheRunAndSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*cluster, *appsv1.Deployment)
		want   string
	}{
		{"unknown image", func(_ *cluster, d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "nginx:1" }, `container "rng": image "nginx:1": there is no binary "nginx"; there are: rng`},
		{"negative replicas", func(_ *cluster, d *appsv1.Deployment) { d.Spec.Replicas = new(int32(-1)) }, `spec.replicas: -1`},
		{"surge that is no number", func(_ *cluster, d *appsv1.Deployment) {
			d.Spec.Strategy = rolling(intstr.FromString("many"), intstr.FromInt32(0))
		}, `spec.strategy.rollingUpdate.maxSurge: "many": must be a number or a percentage`},
		{"negative maxUnavailable", func(_ *cluster, d *appsv1.Deployment) {
			d.Spec.Strategy = rolling(intstr.FromInt32(0), intstr.FromInt32(-1))
		}, `maxUnavailable: "-1"`},
		{"unknown strategy", func(_ *cluster, d *appsv1.Deployment) { d.Spec.Strategy.Type = "Canary" }, `spec.strategy.type: "Canary": must be RollingUpdate or Recreate`},
		{"selector that selects others", func(_ *cluster, d *appsv1.Deployment) {
			d.Spec.Template.Labels = map[string]string{"app": "geoip"}
		}, `spec.selector: "app=rng" does not select the labels of spec.template, "app=geoip"`},
		{"no selector", func(_ *cluster, d *appsv1.Deployment) { d.Spec.Selector = nil }, `spec.selector: "`},
		{"selector of everything", func(_ *cluster, d *appsv1.Deployment) {
			d.Spec.Selector, d.Spec.Template.Labels = &metav1.LabelSelector{}, nil
		}, `spec.selector: ""`},
		{"paused", func(_ *cluster, d *appsv1.Deployment) { d.Spec.Paused = true }, `spec.paused`},
		{"no address", func(c *cluster, _ *appsv1.Deployment) { c.addresses.Break(errors.New("all are taken")) }, `address: all are taken`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onCluster(t, func(c *cluster) {
				d := deployment(1, nil)
				tt.change(c, d)
				c.put(d)

				err := <-c.result

				if err == nil || !strings.HasPrefix(err.Error(), "deployment ns/rng: ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want one line with %q", err, tt.want)
				}
				c.result <- nil
			})
		})
	}
}

// Whatever pods become ready or fail in whatever order, each step of a rolling update keeps what it promises, and
// once all is well it comes to its end.
func FuzzARollingUpdateKeepsItsPromises(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint8(0), uint8(3), uint8(0), []byte{0, 1, 2, 3})
	f.Add(uint8(6), uint8(0), uint8(2), uint8(4), uint8(1), []byte("failing and recovering"))
	f.Add(uint8(0), uint8(1), uint8(1), uint8(5), uint8(0), []byte{9, 8, 7})
	f.Fuzz(func(t *testing.T, replicas, surge, unavailable, oldOne, oldTwo uint8, dice []byte) {
		p := plan{replicas: int(replicas % 20), maxSurge: int(surge % 20), maxUnavailable: int(unavailable % 20)}
		if p.maxSurge == 0 && p.maxUnavailable == 0 {
			p.maxUnavailable = 1
		}
		p.maxUnavailable = min(p.maxUnavailable, p.replicas)
		current := &replicaSet{name: "current"}
		old := []*replicaSet{
			{name: "one", replicas: int(oldOne % 20), available: int(oldOne % 20)},
			{name: "two", replicas: int(oldTwo % 20), available: int(oldTwo % 20)},
		}
		all := append(slices.Clone(old), current)
		available := func() (n int) {
			for _, set := range all {
				n += set.available
			}

			return n
		}
		wanted := func() (n int) {
			for _, set := range all {
				n += set.replicas
			}

			return n
		}
		step := func() {
			before, wantedBefore := available(), wanted()
			p.roll(current, old)
			for _, set := range all {
				// The pods that are missed least go, so the available ones last.
				set.available = min(set.available, set.replicas)
			}
			if enough := p.replicas - p.maxUnavailable; available() < min(before, enough) {
				t.Fatalf("%+v: %d of %d available pods are left, want %d", p, available(), before, enough)
			}
			if wanted() > max(wantedBefore, p.replicas+p.maxSurge) {
				t.Fatalf("%+v: %d pods", p, wanted())
			}
		}
		for _, die := range dice {
			set := all[int(die)%len(all)]
			set.available = cmp.Or(int(die)/3%(set.replicas+1), set.available/2)
			step()
		}
		for range 100 {
			for _, set := range all {
				set.available = set.replicas
			}
			step()
		}
		if current.replicas != p.replicas || old[0].replicas+old[1].replicas > 0 {
			t.Fatalf("%+v does not come to its end: %d new, %d and %d old", p, current.replicas, old[0].replicas, old[1].replicas)
		}
	})
}
