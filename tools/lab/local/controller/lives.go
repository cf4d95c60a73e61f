package controller

import (
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
)

// Life is what became of one pod. A time that has not come is zero.
type Life struct {
	Name       string
	Deployment string
	Address    netip.Addr
	CreatedAt  time.Time
	// ReadyAt is when the pod was first written as ready to an EndpointSlice.
	ReadyAt time.Time
	// UnreadyAt is when it last stopped being ready in any EndpointSlice; zero while it is ready.
	UnreadyAt time.Time
	// EndedAt is when its process was gone, and EndReason why: "drained" at the request of its controller, "killed"
	// by [Controller.Kill]. A pod that lives until the controllers are stopped has neither.
	EndedAt   time.Time
	EndReason string
}

// lives is a record of all pods, in the order of their creation. Nothing is ever forgotten: a run has some hundred
// pods.
type lives struct {
	mu     sync.Mutex
	all    []*record
	byName map[types.NamespacedName]*record
	ready  map[types.NamespacedName]bool
}

type record struct {
	namespace string
	life      Life
}

func (l *lives) created(pod *corev1.Pod, deployment string, addr netip.Addr, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.record(pod.Namespace, pod.Name)
	r.life.Deployment, r.life.Address, r.life.CreatedAt = deployment, addr, at
}

// record finds the record of a pod, or begins it: a pod may end before its creator has reported it. The caller holds
// the lock.
func (l *lives) record(namespace, name string) *record {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if r := l.byName[key]; r != nil {
		return r
	}
	r := &record{namespace: namespace, life: Life{Name: name}}
	if l.byName == nil {
		l.byName = make(map[types.NamespacedName]*record)
	}
	l.byName[key] = r
	l.all = append(l.all, r)

	return r
}

// setReady takes note of which pods are ready in any EndpointSlice from now on.
func (l *lives) setReady(ready map[types.NamespacedName]bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range ready {
		life := &l.record(key.Namespace, key.Name).life
		life.UnreadyAt = time.Time{}
		if life.ReadyAt.IsZero() {
			life.ReadyAt = now
		}
	}
	for key := range l.ready {
		if !ready[key] {
			l.record(key.Namespace, key.Name).life.UnreadyAt = now
		}
	}
	l.ready = ready
}

func (l *lives) ended(end kubelet.End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life := &l.record(end.Namespace, end.Name).life
	life.EndedAt, life.EndReason = end.At, "drained"
	if end.Killed {
		life.EndReason = "killed"
	}
}

func (l *lives) of(namespace string) []Life {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Life
	for _, r := range l.all {
		if r.namespace == namespace {
			found = append(found, r.life)
		}
	}

	return found
}
