// Package controller stands in for the controllers of Kubernetes that a rollout and a load-balancing strategy depend
// on: for Deployments and ReplicaSets, for EndpointSlices, and for the legacy Endpoints. Its pods are run by package
// kubelet.
//
// All of it is level-triggered. Each change of the store leads to one pass that looks at everything and writes what
// should be; what happened in between does not matter. A pass that has nothing to change writes nothing, and so the
// passes come to rest.
//
// It does as upstream does (Kubernetes 1.36), except that there is no scheduler: pods are spread over the nodes; that
// ReplicaSets are not objects of the API; that a Deployment scaled in the middle of a rollout is not scaled in
// proportion; and that there is no revision history.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
)

// Options are what the controllers need.
type Options struct {
	// Kubelet is for the pods.
	Kubelet kubelet.Options
	// Nodes are where pods run, in name only; empty for one node "local" without a zone.
	Nodes []Node
}

// Node is a node of the cluster.
type Node struct {
	Name string
	// Zone is its label topology.kubernetes.io/zone; "" for none.
	Zone string
}

// Controller is all the controllers. It is safe for concurrent use.
type Controller struct {
	store   *apiserver.Store
	kubelet *kubelet.Kubelet
	nodes   []Node
	lives   lives

	mu   sync.Mutex               // a pass, or a call that changes what a pass looks at
	sets map[string][]*replicaSet // of each Deployment, by namespace/name, oldest first
}

// New returns controllers for the Deployments and Services of the store. [Controller.Run] starts them.
func New(store *apiserver.Store, opts Options) *Controller {
	c := &Controller{store: store, nodes: opts.Nodes, sets: make(map[string][]*replicaSet)}
	if len(c.nodes) == 0 {
		c.nodes = []Node{{Name: "local"}}
	}
	c.kubelet = kubelet.New(store, opts.Kubelet, c.lives.ended)

	return c
}

// Run runs the controllers until ctx ends, then ends all pods at once (see [kubelet.Kubelet.Close]) and returns nil
// when all are gone. It fails, also with all pods gone, when a Deployment asks for what cannot be done here.
func (c *Controller) Run(ctx context.Context) error {
	defer c.kubelet.Close()
	for {
		changed := c.store.Changed()
		next, err := c.reconcile(time.Now())
		if err != nil {
			return err
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// idle is how long nothing happens by time alone.
const idle = time.Hour

// reconcile is one pass. It returns how long it is until time alone makes a difference.
func (c *Controller) reconcile(now time.Time) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := idle
	pods := groupByOwner(apiserver.List[*corev1.Pod](c.store, ""))
	deployments := make(map[string]bool)
	for _, d := range apiserver.List[*appsv1.Deployment](c.store, "") {
		deployments[d.Namespace+"/"+d.Name] = true
		wait, err := c.reconcileDeployment(d, pods, now)
		if err != nil {
			return 0, fmt.Errorf("deployment %s/%s: %w", d.Namespace, d.Name, err)
		}
		next = min(next, wait)
	}
	c.removeOrphans(deployments, pods)

	return next, c.reconcileEndpoints()
}

// Scale sets how many pods a Deployment is to have, as `kubectl scale` does.
func (c *Controller) Scale(_ context.Context, namespace, name string, replicas int32) error {
	if replicas < 0 {
		return fmt.Errorf("scale deployment %s/%s: %d replicas: must be 0 or more", namespace, name, replicas)
	}

	return c.change("scale", namespace, name, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

// Rollout replaces all pods of a Deployment by its strategy, as `kubectl rollout restart` does.
func (c *Controller) Rollout(_ context.Context, namespace, name string) error {
	return c.change("roll out", namespace, name, func(d *appsv1.Deployment) {
		if d.Spec.Template.Annotations == nil {
			d.Spec.Template.Annotations = make(map[string]string)
		}
		// With nanoseconds, unlike kubectl: two in one second are two.
		d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = time.Now().Format(time.RFC3339Nano)
	})
}

func (c *Controller) change(verb, namespace, name string, change func(*appsv1.Deployment)) error {
	found, err := apiserver.Update(c.store, namespace, name, func(d *appsv1.Deployment) {
		before := d.Spec.DeepCopy()
		change(d)
		if !sameJSON(before, &d.Spec) {
			d.Generation++
		}
	})
	if err == nil && !found {
		err = c.unknown(namespace)
	}
	if err != nil {
		return fmt.Errorf("%s deployment %s/%s: %w", verb, namespace, name, err)
	}

	return nil
}

// unknown is the error for a Deployment that is not there.
func (c *Controller) unknown(namespace string) error {
	var names []string
	for _, d := range apiserver.List[*appsv1.Deployment](c.store, namespace) {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return errors.New("it does not exist; the namespace has none")
	}

	return fmt.Errorf("it does not exist; there are: %s", strings.Join(names, ", "))
}

// Kill kills the processes of n ready pods of a Deployment without notice (SIGKILL), the oldest first, and then
// removes the pods from the store, as `kubectl delete pod --force --grace-period=0` does; their controller replaces
// them. It returns their names when they are gone.
func (c *Controller) Kill(ctx context.Context, namespace, name string, n int) ([]string, error) {
	pods, err := c.oldestReady(namespace, name, n)
	if err != nil {
		return nil, fmt.Errorf("kill %d pods of deployment %s/%s: %w", n, namespace, name, err)
	}
	failures := make([]error, len(pods))
	var killing sync.WaitGroup
	for i, pod := range pods {
		killing.Go(func() { failures[i] = c.kubelet.Kill(ctx, namespace, pod) })
	}
	killing.Wait()

	return pods, errors.Join(failures...)
}

// Delete asks n ready pods of a Deployment to leave, the oldest first, as `kubectl delete pod` does. It returns their
// names at once; others are made in their place.
func (c *Controller) Delete(_ context.Context, namespace, name string, n int) ([]string, error) {
	pods, err := c.oldestReady(namespace, name, n)
	if err != nil {
		return nil, fmt.Errorf("delete %d pods of deployment %s/%s: %w", n, namespace, name, err)
	}
	for _, pod := range pods {
		c.kubelet.Delete(namespace, pod)
	}

	return pods, nil
}

// Freeze stops the processes of n ready pods of a Deployment (SIGSTOP), the oldest first, and lets them go on
// (SIGCONT) after d. It returns their names at once.
func (c *Controller) Freeze(_ context.Context, namespace, name string, n int, d time.Duration) ([]string, error) {
	pods, err := c.oldestReady(namespace, name, n)
	if err != nil {
		return nil, fmt.Errorf("freeze %d pods of deployment %s/%s: %w", n, namespace, name, err)
	}
	var failures []error
	for _, pod := range pods {
		failures = append(failures, c.kubelet.Freeze(namespace, pod, d))
	}

	return pods, errors.Join(failures...)
}

func (c *Controller) oldestReady(namespace, name string, n int) ([]string, error) {
	if n < 1 {
		return nil, errors.New("must be 1 or more")
	}
	if _, ok := apiserver.Get[*appsv1.Deployment](c.store, namespace, name); !ok {
		return nil, c.unknown(namespace)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	pods := groupByOwner(apiserver.List[*corev1.Pod](c.store, namespace))
	var ready []*corev1.Pod
	for _, set := range c.sets[namespace+"/"+name] {
		for _, pod := range pods[namespace+"/"+set.name] {
			if pod.DeletionTimestamp == nil && readySince(pod) != nil {
				ready = append(ready, pod)
			}
		}
	}
	if len(ready) < n {
		return nil, fmt.Errorf("only %d are ready", len(ready))
	}
	slices.SortStableFunc(ready, func(a, b *corev1.Pod) int { return a.Status.StartTime.Compare(b.Status.StartTime.Time) })
	names := make([]string, n)
	for i, pod := range ready[:n] {
		names[i] = pod.Name
	}

	return names, nil
}

// Lives has the life of each pod that the namespace has or had, in the order of their creation.
func (c *Controller) Lives(namespace string) []Life { return c.lives.of(namespace) }

// removeOrphans deletes the pods of Deployments that are gone.
func (c *Controller) removeOrphans(deployments map[string]bool, pods map[string][]*corev1.Pod) {
	for owner := range maps.Keys(c.sets) {
		if deployments[owner] {
			continue
		}
		c.sets[owner] = slices.DeleteFunc(c.sets[owner], func(set *replicaSet) bool {
			set.count(pods, 0, time.Time{})
			for _, pod := range set.active {
				slog.Debug("deployment is gone, and so is its pod", "namespace", set.namespace, "pod", pod.Name)
				c.kubelet.Delete(set.namespace, pod.Name)
			}

			return len(set.active)+set.terminating == 0
		})
		if len(c.sets[owner]) == 0 {
			delete(c.sets, owner)
		}
	}
}
