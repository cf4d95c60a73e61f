package kubelet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
)

func TestAPodBecomesReadyWhenItsProbeSucceeds(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Warmup: 2 * time.Second})
		n.create(nil)

		if got := n.pod().Status; got.Phase != corev1.PodRunning || !strings.HasPrefix(got.PodIP, "127.") {
			t.Errorf("phase %s, IP %s", got.Phase, got.PodIP)
		}
		n.at(2400 * time.Millisecond)
		if n.ready() {
			t.Error("ready before a probe has succeeded")
		}
		n.at(2500 * time.Millisecond)
		if !n.ready() || !n.pod().Status.ContainerStatuses[0].Ready {
			t.Error("not ready after a probe has succeeded")
		}
		n.machine.SetHealthy("rng-1", false)
		n.at(4500 * time.Millisecond)
		if !n.ready() {
			t.Error("not ready before the third failure")
		}
		n.at(5500 * time.Millisecond)
		if n.ready() {
			t.Error("still ready after three failures")
		}
		n.wantEvents("start@0s")
	})
}

func TestAPodWithoutProbesIsReadyWhenItRuns(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = nil })
		if !n.ready() || !*n.pod().Status.ContainerStatuses[0].Started {
			t.Error("not ready")
		}
	})
}

func TestOtherProbesWaitForTheStartupProbe(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Warmup: 20 * time.Second})
		n.create(func(p *corev1.Pod) {
			p.Spec.Containers[0].StartupProbe = grpcProbe(1)
			p.Spec.Containers[0].StartupProbe.FailureThreshold = 60
			p.Spec.Containers[0].LivenessProbe = grpcProbe(1)
		})

		n.at(20 * time.Second)
		if n.ready() || *n.pod().Status.ContainerStatuses[0].Started {
			t.Error("started before the startup probe has succeeded")
		}
		n.at(20500 * time.Millisecond)
		if !n.ready() || !*n.pod().Status.ContainerStatuses[0].Started {
			t.Error("not ready at once after the startup probe")
		}
		n.wantEvents("start@0s") // liveness would have ended it after 3 s
	})
}

func TestAContainerThatNeverStartsUpIsRestarted(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Warmup: time.Hour})
		n.create(func(p *corev1.Pod) {
			p.Spec.Containers[0].StartupProbe = grpcProbe(5)
			p.Spec.Containers[0].StartupProbe.TerminationGracePeriodSeconds = new(int64(4))
		})
		n.machine.Behave(kubelettest.Behaviour{Warmup: time.Hour, Deaf: true})

		n.at(25 * time.Second)
		// Three failures end the first run at 10.5 s; the second, deaf, is given the probe's own grace period.
		n.wantEvents("start@0s", "SIGTERM@10.5s", "exit 0@10.5s", "start@10.5s", "SIGTERM@21s", "SIGKILL@25s")
	})
}

func TestALivenessFailureRestartsTheContainerInGoodOrder(t *testing.T) {
	onNode(t, func(n *node) {
		n.create(func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = grpcProbe(2)
			p.Spec.Containers[0].Lifecycle = preStopSleep(4)
		})
		n.at(time.Second)
		n.machine.SetHealthy("rng-1", false)
		address := n.pod().Status.PodIP

		n.at(12 * time.Second)
		n.wantEvents("start@0s", "SIGTERM@10.5s", "exit 0@10.5s", "start@10.5s")
		status := n.pod().Status
		if got := status.ContainerStatuses[0].RestartCount; got != 1 {
			t.Errorf("%d restarts, want 1", got)
		}
		if status.PodIP != address {
			t.Errorf("the address was %s and is %s", address, status.PodIP)
		}
		if !n.ready() {
			t.Error("not ready again")
		}
	})
}

func TestACrashingContainerIsRestartedWithBackoff(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Crash: time.Second})
		n.create(nil)

		n.at(time.Second)
		if got := n.pod().Status.ContainerStatuses[0]; got.RestartCount != 1 || got.LastTerminationState.Terminated.ExitCode != 1 {
			t.Errorf("after the first crash: %+v", got)
		}
		n.at(5 * time.Second)
		if got := n.pod().Status.ContainerStatuses[0].State.Waiting; got == nil || got.Reason != "CrashLoopBackOff" {
			t.Errorf("in the back-off: %+v", got)
		}
		n.at(25 * time.Minute)
		var starts []string
		for _, event := range n.machine.Events("rng-1") {
			if at, ok := strings.CutPrefix(event, "start@"); ok {
				starts = append(starts, at)
			}
		}
		// Waits of 0, 10, 20, 40, 80, 160 and then 300 s, each after a second of life.
		want := []string{"0s", "1s", "12s", "33s", "1m14s", "2m35s", "5m16s", "10m17s", "15m18s", "20m19s"}
		if diff := cmp.Diff(want, starts); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheBackoffIsForgottenAfterALongLife(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Crash: 11 * time.Minute})
		n.create(nil)
		n.at(23 * time.Minute)
		n.wantEvents("start@0s", "exit 1@11m0s", "start@11m0s", "exit 1@22m0s", "start@22m0s")
	})
}

func TestAProcessThatCannotBeStartedIsTriedAgain(t *testing.T) {
	onNode(t, func(n *node) {
		n.machine.Behave(kubelettest.Behaviour{Broken: errors.New("exec format error")})
		n.create(nil)
		n.at(5 * time.Second)
		if got := n.pod().Status.ContainerStatuses[0].LastTerminationState.Terminated; got == nil || got.Message != "exec format error" {
			t.Errorf("last state %+v", got)
		}
		n.machine.Behave(kubelettest.Behaviour{})
		n.at(11 * time.Second)
		n.wantEvents("start@10s")
		if !n.ready() {
			t.Error("not ready")
		}
	})
}

func TestAPodThatCannotBeIsRefusedAndLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*node, *corev1.Pod)
		want   string
	}{
		{"unknown image", func(_ *node, p *corev1.Pod) { p.Spec.Containers[0].Image = "nginx" }, `pod ns/rng-1: container "rng": image "nginx": there is no binary`},
		{"missing ConfigMap", func(_ *node, p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "gone"}}}}
		}, `there is no ConfigMap "gone"`},
		{"no address", func(n *node, _ *corev1.Pod) { n.addresses.Break(errors.New("all taken")) }, `pod ns/rng-1: address: all taken`},
		{"no namespace", func(_ *node, p *corev1.Pod) { p.Namespace = "" }, `namespace`},
		{"same name", func(n *node, _ *corev1.Pod) { n.create(nil) }, `there is one of that name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onNode(t, func(n *node) {
				p := pod(nil)
				tt.change(n, p)
				before := n.addresses.InUse()

				_, err := n.kubelet.Create(p)

				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want one line with %q", err, tt.want)
				}
				if now := n.addresses.InUse(); now != before {
					t.Errorf("%d addresses in use, want %d", now, before)
				}
			})
		})
	}
}
