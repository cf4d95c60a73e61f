package kubelet_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
)

func TestTerminationKeepsToTheGracePeriod(t *testing.T) {
	for _, tt := range []struct {
		name         string
		preStop      int64
		grace        int64
		drain        time.Duration
		deaf         bool
		want         []string
		wantGoneWith string
	}{
		{
			"in good order", 5, 30, 3 * time.Second, false,
			[]string{"start@0s", "SIGTERM@15s", "exit 0@18s"}, "rng-1 killed=false@18s",
		},
		{
			"without a hook", 0, 30, 0, false,
			[]string{"start@0s", "SIGTERM@10s", "exit 0@10s"}, "rng-1 killed=false@10s",
		},
		{
			"grace counts from the beginning of the hook", 5, 20, 0, true,
			[]string{"start@0s", "SIGTERM@15s", "SIGKILL@30s"}, "rng-1 killed=false@30s",
		},
		{
			"a hook longer than the grace is cut, and two seconds are left", 60, 20, time.Second, false,
			[]string{"start@0s", "SIGTERM@30s", "exit 0@31s"}, "rng-1 killed=false@31s",
		},
		{
			"two seconds and no more", 60, 20, 0, true,
			[]string{"start@0s", "SIGTERM@30s", "SIGKILL@32s"}, "rng-1 killed=false@32s",
		},
		{
			"no grace at all is the least there is", 0, 0, 0, true,
			[]string{"start@0s", "SIGTERM@10s", "SIGKILL@12s"}, "rng-1 killed=false@12s",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onNode(t, func(n *node) {
				n.machine.Behave(kubelettest.Behaviour{Drain: tt.drain, Deaf: tt.deaf})
				n.create(func(p *corev1.Pod) {
					p.Spec.TerminationGracePeriodSeconds = &tt.grace
					if tt.preStop > 0 {
						p.Spec.Containers[0].Lifecycle = preStopSleep(tt.preStop)
					}
				})
				n.at(10 * time.Second)

				for range 2 {
					if !n.kubelet.Delete("ns", "rng-1") {
						t.Error("there is no such pod")
					}
				}

				if marked := n.pod().DeletionTimestamp; marked == nil || marked.Sub(n.begun) != time.Duration(10+tt.grace)*time.Second {
					t.Errorf("marked with %v", marked)
				}
				n.at(time.Minute)
				n.wantEvents(tt.want...)
				n.wantGone(tt.wantGoneWith)
				if n.kubelet.Delete("ns", "rng-1") {
					t.Error("there is still such a pod")
				}
			})
		})
	}
}

func TestReadinessIsStillProbedWhileAPodTerminatesAndLivenessIsNot(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = grpcProbe(1)
			p.Spec.Containers[0].Lifecycle = preStopSleep(20)
		})
		n.at(5 * time.Second)
		n.kubelet.Delete("ns", "rng-1")
		n.at(6 * time.Second)
		if !n.ready() {
			t.Error("no longer ready although its probe succeeds")
		}
		n.machine.SetHealthy("rng-1", false)
		n.at(20 * time.Second)
		if n.ready() {
			t.Error("still ready although its probe fails")
		}
		n.at(25 * time.Second)
		n.wantEvents("start@0s", "SIGTERM@25s", "exit 0@25s")
	})
}

func TestAPodDeletedInItsBackoffIsGoneAtOnce(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Crash: time.Second})
		n.create(nil)
		n.at(4 * time.Second)
		n.kubelet.Delete("ns", "rng-1")
		synctest.Wait()
		n.wantGone("rng-1 killed=false@2s")
	})
}

func TestAKilledPodHasNoLastWord(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = preStopSleep(5) })
		n.at(3 * time.Second)
		if err := n.kubelet.Kill(n.t.Context(), "ns", "rng-1"); err != nil {
			t.Error(err)
		}
		n.wantEvents("start@0s", "SIGKILL@3s")
		n.wantGone("rng-1 killed=true@3s")
		if err := n.kubelet.Kill(n.t.Context(), "ns", "rng-1"); err == nil || !strings.Contains(err.Error(), "no such pod") {
			t.Errorf("killed twice: %v", err)
		}
	})
}

func TestAPodCanBeKilledWhileItTerminates(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = preStopSleep(5) })
		n.kubelet.Delete("ns", "rng-1")
		n.at(3 * time.Second)
		if err := n.kubelet.Kill(n.t.Context(), "ns", "rng-1"); err != nil {
			t.Error(err)
		}
		n.wantEvents("start@0s", "SIGKILL@3s")
		n.wantGone("rng-1 killed=true@3s")
	})
}

func TestAFrozenPodFailsItsProbesUntilItGoesOn(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(nil)
		n.at(time.Second)
		if err := n.kubelet.Freeze("ns", "rng-1", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		n.at(9 * time.Second)
		if n.ready() {
			t.Error("ready although frozen")
		}
		n.at(12 * time.Second)
		if !n.ready() {
			t.Error("not ready although it goes on")
		}
		n.wantEvents("start@0s", "SIGSTOP@1s", "SIGCONT@11s")
		if err := n.kubelet.Freeze("ns", "rng-2", time.Second); err == nil {
			t.Error("froze a pod that is not there")
		}
	})
}

func TestTheThawOfADeadPodIsNobodysConcern(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(nil)
		if err := n.kubelet.Freeze("ns", "rng-1", time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := n.kubelet.Kill(n.t.Context(), "ns", "rng-1"); err != nil {
			t.Fatal(err)
		}
		n.wantEvents("start@0s", "SIGSTOP@0s", "SIGKILL@0s")
		if err := n.kubelet.Freeze("ns", "rng-1", time.Second); err == nil {
			t.Error("froze a dead pod")
		}
	})
}

func TestAtTheEndAllPodsHaveTwoSecondsAndNoHook(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Drain: time.Second})
		n.create(func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = preStopSleep(5) })
		n.at(time.Second)
		n.machine.Behave(kubelettest.Behaviour{Deaf: true})
		if _, err := n.kubelet.Create(pod(func(p *corev1.Pod) { p.Name = "rng-2" })); err != nil {
			t.Fatal(err)
		}
		n.kubelet.Delete("ns", "rng-1") // it is in its hook when the end comes
		n.at(2 * time.Second)
		if err := n.kubelet.Freeze("ns", "rng-2", time.Hour); err != nil {
			t.Fatal(err)
		}

		n.kubelet.Close()

		if took := time.Since(n.begun); took != 4*time.Second {
			t.Errorf("it was over after %v", took)
		}
		n.wantEvents("start@0s", "SIGTERM@2s", "exit 0@3s")
		if got := n.machine.Events("rng-2"); !slices.Contains(got, "SIGCONT@2s") || !slices.Contains(got, "SIGKILL@4s") {
			t.Errorf("the frozen pod saw %v", got)
		}
		if len(n.ends) > 0 {
			t.Errorf("reported as ended: %v", n.ends)
		}
		if left := apiserver.List[*corev1.Pod](n.store, "ns"); len(left) != 2 {
			t.Errorf("%d pods are left in the store", len(left))
		}
		if _, err := n.kubelet.Create(pod(nil)); err == nil {
			t.Error("created a pod after the end")
		}
	})
}

func TestKillWaitsNoLongerThanItsContext(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(nil)
		ctx, cancel := context.WithCancel(n.t.Context())
		cancel()
		if err := n.kubelet.Kill(ctx, "ns", "rng-1"); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
