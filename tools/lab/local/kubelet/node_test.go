package kubelet_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

func TestMain(m *testing.M) {
	kubelettest.Serve()
	goleak.VerifyTestMain(m)
}

// node is a kubelet on a machine that only pretends, under the clock of synctest.
type node struct {
	t         *testing.T
	begun     time.Time
	store     *apiserver.Store
	machine   *kubelettest.Machine
	addresses *kubelettest.Addresses
	kubelet   *kubelet.Kubelet

	mu   sync.Mutex
	ends []string
}

// onNode runs a test on a new node, which is closed at the end and must then be empty.
func onNode(t *testing.T, test func(*node)) {
	t.Helper()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, begun: time.Now(), store: apiserver.NewStore(), machine: kubelettest.NewMachine(), addresses: &kubelettest.Addresses{}}
		n.kubelet = kubelet.New(n.store, kubelet.Options{
			Binaries: podspec.Binaries{"rng": "/bin/rng"}, NewAddress: n.addresses.New, Folder: folder,
			Start: n.machine.Start, Check: n.machine.Check,
		}, func(end kubelet.End) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.ends = append(n.ends, fmt.Sprintf("%s killed=%v@%v", end.Name, end.Killed, end.At.Sub(n.begun)))
		})
		test(n)
		n.kubelet.Close()
		if left := n.machine.Running(); len(left) > 0 || n.addresses.InUse() > 0 {
			t.Errorf("left behind: processes %v, %d addresses", left, n.addresses.InUse())
		}
	})
}

func (n *node) create(change func(*corev1.Pod)) {
	n.t.Helper()
	if _, err := n.kubelet.Create(pod(change)); err != nil {
		n.t.Fatal(err)
	}
	synctest.Wait()
}

// at waits until d after the beginning, and a moment for what happens then.
func (n *node) at(d time.Duration) {
	<-time.After(time.Until(n.begun.Add(d)))
	synctest.Wait()
}

func (n *node) pod() *corev1.Pod {
	n.t.Helper()
	found, ok := apiserver.Get[*corev1.Pod](n.store, "ns", "rng-1")
	if !ok {
		n.t.Fatal("the pod is not in the store")
	}

	return found
}

func (n *node) ready() bool {
	n.t.Helper()

	return isReady(n.pod())
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}

	return false
}

func (n *node) wantEvents(want ...string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.machine.Events("rng-1")); diff != "" {
		n.t.Error(diff)
	}
}

// wantGone wants the pod to have ended so, and to have left the store.
func (n *node) wantGone(want string) {
	n.t.Helper()
	if _, ok := apiserver.Get[*corev1.Pod](n.store, "ns", "rng-1"); ok {
		n.t.Error("the pod is still in the store")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if diff := cmp.Diff([]string{want}, n.ends); diff != "" {
		n.t.Error(diff)
	}
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng-1"},
		Spec: corev1.PodSpec{
			NodeName: "node-1",
			Containers: []corev1.Container{{
				Name: "rng", Image: "example.org/rng:v1",
				ReadinessProbe: grpcProbe(1),
			}},
		},
	}
	if change != nil {
		change(p)
	}

	return p
}

func grpcProbe(period int32) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: kubelettest.Port}}, PeriodSeconds: period}
}

func preStopSleep(seconds int64) *corev1.Lifecycle {
	return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}}
}
