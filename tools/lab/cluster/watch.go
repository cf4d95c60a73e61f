package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// nameLabel says which service a pod is of.
const nameLabel = "app.kubernetes.io/name"

// watch keeps up with the pods and EndpointSlices of a namespace, and writes the pods' lives down.
type watch struct {
	lives       *lives
	pods        cache.Store
	slices      cache.Store
	controllers []cache.Controller
}

func newWatch(a *api, namespace string) *watch {
	w := &watch{lives: newLives()}
	w.pods = w.add(a, namespace, "pods", new(corev1.Pod), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { about(object, w.lives.seen) },
		UpdateFunc: func(_, object any) { about(object, w.lives.seen) },
		DeleteFunc: func(object any) { about(object, w.lives.deleted) },
	})
	w.slices = w.add(a, namespace, "endpointslices", new(discoveryv1.EndpointSlice), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.lives.setReady(w.ready(), time.Now()) },
		UpdateFunc: func(_, _ any) { w.lives.setReady(w.ready(), time.Now()) },
		DeleteFunc: func(any) { w.lives.setReady(w.ready(), time.Now()) },
	})

	return w
}

// about tells of a pod, also of one whose end a watch that broke off did not see.
func about(object any, tell func(*corev1.Pod, time.Time)) {
	if unseen, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unseen.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		tell(pod, time.Now())
	}
}

func (w *watch) add(a *api, namespace, resource string, kind runtime.Object, handler cache.ResourceEventHandler) cache.Store {
	client := a.clients[a.resourceOf(kind).version]
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client, resource, namespace, fields.Everything()),
		ObjectType:    kind, Handler: handler,
	})
	w.controllers = append(w.controllers, controller)

	return store
}

// run watches until ctx is done.
func (w *watch) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, c := range w.controllers {
		running.Go(func() { c.RunWithContext(ctx) })
	}
	running.Wait()
}

// synced waits until the first state is known.
func (w *watch) synced(ctx context.Context) error {
	for _, c := range w.controllers {
		if !cache.WaitForCacheSync(ctx.Done(), c.HasSynced) {
			return fmt.Errorf("watching pods and EndpointSlices: %w", context.Cause(ctx))
		}
	}

	return nil
}

// ready are the pods that an EndpointSlice says are ready. Where it says nothing of that, they are (discovery.k8s.io/v1).
func (w *watch) ready() map[string]bool {
	ready := map[string]bool{}
	for _, object := range w.slices.List() {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue // it has nothing else
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.TargetRef != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
				ready[endpoint.TargetRef.Name] = true
			}
		}
	}

	return ready
}

// podsOf are the pods of a service, the oldest first.
func (w *watch) podsOf(service string) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, object := range w.pods.List() {
		if pod, ok := object.(*corev1.Pod); ok && pod.Labels[nameLabel] == service {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})

	return pods
}

// readyPods are n of a service's ready pods that nobody has asked to leave, the oldest first.
func (w *watch) readyPods(service string, n int) ([]*corev1.Pod, error) {
	ready := w.ready()
	pods := slices.DeleteFunc(w.podsOf(service), func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil || !ready[p.Name] })
	if len(pods) < n {
		return nil, fmt.Errorf("only %d pods of %s are ready, not %d", len(pods), service, n)
	}

	return pods[:n], nil
}

// lives is a record of a namespace's pods. Nothing is ever forgotten: a run has some hundred pods.
type lives struct {
	mu     sync.Mutex
	order  []*scorecard.Life
	byName map[string]*scorecard.Life
	ready  map[string]bool
	killed map[string]bool
}

func newLives() *lives {
	return &lives{byName: map[string]*scorecard.Life{}, killed: map[string]bool{}}
}

// life finds the record of a pod, or begins it: a slice may tell of a pod before the pods' watch does. The caller
// holds the lock.
func (l *lives) life(name string, now time.Time) *scorecard.Life {
	life := l.byName[name]
	if life == nil {
		life = &scorecard.Life{Name: name, CreatedAt: now}
		l.byName[name] = life
		l.order = append(l.order, life)
	}

	return life
}

// seen takes note of what a pod is like.
func (l *lives) seen(pod *corev1.Pod, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life := l.life(pod.Name, now)
	life.Service, life.Address = pod.Labels[nameLabel], pod.Status.PodIP
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		l.end(life, now)
	}
}

// deleted takes note of the end of a pod.
func (l *lives) deleted(pod *corev1.Pod, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(l.life(pod.Name, now), now)
}

func (l *lives) end(life *scorecard.Life, now time.Time) {
	if life.EndedAt != nil {
		return
	}
	life.EndedAt, life.EndReason = &now, scorecard.Drained
	if l.killed[life.Name] {
		life.EndReason = scorecard.Killed
	}
}

// kill takes note that a pod was killed.
func (l *lives) kill(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed[name] = true
}

// setReady takes note of which pods are ready from now on.
func (l *lives) setReady(ready map[string]bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range ready {
		life := l.life(name, now)
		life.UnreadyAt = nil
		if life.ReadyAt == nil {
			life.ReadyAt = &now
		}
	}
	for name := range l.ready {
		if !ready[name] {
			l.life(name, now).UnreadyAt = &now
		}
	}
	l.ready = ready
}

func (l *lives) all() []scorecard.Life {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]scorecard.Life, 0, len(l.order))
	for _, life := range l.order {
		out = append(out, *life)
	}

	return out
}
