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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// nameLabel says which service a pod is of.
const nameLabel = "app.kubernetes.io/name"

// watch keeps up with the pods and EndpointSlices of a namespace, and writes the pods' lives down.
type watch struct {
	lives        *lives
	pods, slices *objects
}

func newWatch(a *api, namespace string) *watch {
	w := unheard()
	w.pods.from(a, namespace, "pods", new(corev1.Pod))
	w.slices.from(a, namespace, "endpointslices", new(discoveryv1.EndpointSlice))

	return w
}

// unheard is a watch that nobody tells of anything yet.
func unheard() *watch {
	w := &watch{lives: newLives()}
	w.pods = newObjects(func(object any, gone bool) {
		pod, ok := object.(*corev1.Pod)
		switch {
		case !ok: // there is nothing else
		case gone:
			w.lives.deleted(pod, time.Now())
		default:
			w.lives.seen(pod, time.Now())
		}
	})
	w.slices = newObjects(func(any, bool) {
		w.lives.setReady(w.ready(), time.Now())
	})

	return w
}

// run watches until ctx is done.
func (w *watch) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { w.pods.reflector.RunWithContext(ctx) })
	running.Go(func() { w.slices.reflector.RunWithContext(ctx) })
	running.Wait()
}

// synced waits until the first state is known.
func (w *watch) synced(ctx context.Context) error {
	for _, o := range []*objects{w.pods, w.slices} {
		select {
		case <-o.synced:
		case <-ctx.Done():
			return fmt.Errorf("watching pods and EndpointSlices: %w", context.Cause(ctx))
		}
	}

	return nil
}

// retry is how soon a watch that broke off is tried again. The pauses of client-go's informers grow to a minute: an API server
// that was away may be back for that long, and pods be born of which the record would not tell.
var retry = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 16, Cap: 2 * time.Second}

// objects are those of one kind in a namespace, as a watch tells of them.
type objects struct {
	cache.Store

	reflector *cache.Reflector
	tell      func(object any, gone bool)
	synced    chan struct{} // closed when all that there were at first are known
	once      sync.Once
}

func newObjects(tell func(object any, gone bool)) *objects {
	return &objects{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), tell: tell, synced: make(chan struct{})}
}

// from says where they are.
func (o *objects) from(a *api, namespace, resource string, kind runtime.Object) {
	client := a.clients[a.resourceOf(kind).version]
	o.reflector = cache.NewReflectorWithOptions(
		cache.NewListWatchFromClient(client, resource, namespace, fields.Everything()), kind, o, cache.ReflectorOptions{Backoff: &retry})
}

// Add, Update, Delete and Replace are what a Reflector calls.

func (o *objects) Add(object any) error {
	err := o.Store.Add(object)
	o.tell(object, false)

	return err
}

func (o *objects) Update(object any) error {
	err := o.Store.Update(object)
	o.tell(object, false)

	return err
}

func (o *objects) Delete(object any) error {
	err := o.Store.Delete(object)
	o.tell(object, true)

	return err
}

// Replace also tells of what has gone while the watch was broken off.
func (o *objects) Replace(all []any, version string) error {
	before := o.List()
	err := o.Store.Replace(all, version)
	for _, object := range before {
		if _, there, _ := o.Get(object); !there { // the key was made before
			o.tell(object, true)
		}
	}
	for _, object := range all {
		o.tell(object, false)
	}
	o.once.Do(func() { close(o.synced) })

	return err
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
