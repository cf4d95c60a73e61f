package kubelet_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// The tests of this file have real processes: this test binary, as the server of kubelettest.

type realNode struct {
	t       *testing.T
	store   *apiserver.Store
	kubelet *kubelet.Kubelet
	ends    chan kubelet.End
}

func newRealNode(t *testing.T) *realNode {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := &realNode{t: t, store: apiserver.NewStore(), ends: make(chan kubelet.End, 1)}
	n.kubelet = kubelet.New(n.store, kubelet.Options{
		Binaries: podspec.Binaries{"rng": exe}, NewAddress: new(kubelettest.Addresses).New, Folder: t.TempDir(),
	}, func(end kubelet.End) { n.ends <- end })
	t.Cleanup(n.kubelet.Close)

	return n
}

func (n *realNode) create(behaviour string, change func(*corev1.Pod)) {
	n.t.Helper()
	_, err := n.kubelet.Create(pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = kubelettest.Env(behaviour)
		if change != nil {
			change(p)
		}
	}))
	if err != nil {
		n.t.Fatal(err)
	}
}

// waitFor waits for a pod in the store that is as it should be.
func (n *realNode) waitFor(what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	n.t.Helper()
	deadline := time.After(patience)
	for {
		changed := n.store.Changed()
		if found, there := apiserver.Get[*corev1.Pod](n.store, "ns", "rng-1"); there && ok(found) {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			n.t.Fatalf("still not after %v: %s; log:\n%s", patience, what, n.log())
		}
	}
}

func (n *realNode) waitForEnd() kubelet.End {
	n.t.Helper()
	select {
	case end := <-n.ends:
		return end
	case <-time.After(patience):
		n.t.Fatalf("the pod has not ended; log:\n%s", n.log())

		return kubelet.End{}
	}
}

func (n *realNode) log() string {
	n.t.Helper()
	log, err := os.ReadFile(n.kubelet.LogPath("ns", "rng-1"))
	if err != nil {
		n.t.Fatal(err)
	}

	return string(log)
}

// said finds when a pod said something.
func (n *realNode) said(what string) time.Time {
	n.t.Helper()
	for line := range strings.Lines(n.log()) {
		if at, words, _ := strings.Cut(strings.TrimSpace(line), " "); words == what {
			parsed, err := time.Parse(time.RFC3339Nano, at)
			if err != nil {
				n.t.Fatal(err)
			}

			return parsed
		}
	}
	n.t.Fatalf("the pod never said %q; log:\n%s", what, n.log())

	return time.Time{}
}

func TestARealPodServesAndEndsInGoodOrder(t *testing.T) {
	n := newRealNode(t)
	n.create("well", func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = preStopSleep(1) })
	address := n.waitFor("ready", isReady).Status.PodIP

	deleted := time.Now()
	n.kubelet.Delete("ns", "rng-1")
	end := n.waitForEnd()

	if wait := n.said("SIGTERM").Sub(deleted); wait < time.Second {
		t.Errorf("SIGTERM came after %v, before the hook was over", wait)
	}
	n.said("bye")
	if end.Killed || end.At.Before(n.said("bye")) {
		t.Errorf("ended with %+v", end)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(kubelettest.Port))); err == nil {
		conn.Close()
		t.Error("something still listens at the pod's address")
	}
	if _, err := os.Stat(filepath.Dir(n.kubelet.LogPath("ns", "rng-1"))); err != nil {
		t.Error(err)
	}
}

func TestARealPodThatIsDeafToSIGTERMIsKilledWhenItsGraceIsOver(t *testing.T) {
	n := newRealNode(t)
	n.create("deaf", func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = preStopSleep(1)
		p.Spec.TerminationGracePeriodSeconds = new(int64(3))
	})
	n.waitFor("ready", isReady)

	deleted := time.Now()
	n.kubelet.Delete("ns", "rng-1")
	end := n.waitForEnd()

	term, kill := n.said("SIGTERM").Sub(deleted), end.At.Sub(deleted)
	if term < time.Second || kill < 3*time.Second {
		t.Errorf("SIGTERM after %v, dead after %v, want no less than 1 s and 3 s", term, kill)
	}
	if end.Killed {
		t.Error("it counts as killed, although it was asked to go")
	}
}

func TestTheLastWordsOfARealPodThatCrashesAreInItsStatus(t *testing.T) {
	n := newRealNode(t)
	n.create("badly", nil)

	crashed := n.waitFor("in the back-off", func(p *corev1.Pod) bool {
		waiting := p.Status.ContainerStatuses[0].State.Waiting

		return waiting != nil && waiting.Reason == "CrashLoopBackOff"
	})

	got := crashed.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if got == nil || got.ExitCode != 3 || !strings.Contains(got.Message, "error: no luck today") {
		t.Errorf("last state %+v", got)
	}
}

func TestARealPodThatIsFrozenLosesItsReadinessAndGetsItBack(t *testing.T) {
	n := newRealNode(t)
	n.create("well", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe.FailureThreshold = 1 })
	n.waitFor("ready", isReady)

	if err := n.kubelet.Freeze("ns", "rng-1", 3*time.Second); err != nil {
		t.Fatal(err)
	}

	n.waitFor("not ready", func(p *corev1.Pod) bool { return !isReady(p) })
	n.waitFor("ready again", isReady)
	if restarts := n.waitFor("there", isReady).Status.ContainerStatuses[0].RestartCount; restarts != 0 {
		t.Errorf("%d restarts, want none", restarts)
	}
}

func TestARealPodThatIsKilledIsDeadAtOnce(t *testing.T) {
	n := newRealNode(t)
	n.create("deaf", nil)
	n.waitFor("ready", isReady)

	if err := n.kubelet.Kill(t.Context(), "ns", "rng-1"); err != nil {
		t.Fatal(err)
	}

	if end := n.waitForEnd(); !end.Killed || strings.Contains(n.log(), "SIGTERM") {
		t.Errorf("ended with %+v, log:\n%s", end, n.log())
	}
}
