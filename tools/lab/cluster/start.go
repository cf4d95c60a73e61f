package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/evenkeel/evenkeel/tools/lab/render"
)

// startTimeout bounds the wait for all pods of all overlays to be ready at first. A cluster may have images to pull.
const startTimeout = 5 * time.Minute

// managedBy marks the namespaces that the lab has made.
const managedBy = "app.kubernetes.io/managed-by"

// Start applies the overlays, and waits until their pods are ready: first everything but the clients, then those, so
// that no client begins with nobody to call.
func (e *Environment) Start(ctx context.Context, overlays []*render.Overlay, service string, replicas int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not all pods were ready in %v", startTimeout))
	defer cancel()
	if err := e.makeRoom(ctx, overlays); err != nil {
		return err
	}
	e.mu.Lock()
	e.overlays = overlays // from here on Close deletes them
	e.mu.Unlock()
	if err := each(overlays, func(o *render.Overlay) error { return e.prepare(ctx, o) }); err != nil {
		return err
	}
	for _, clients := range []bool{false, true} {
		if err := each(overlays, func(o *render.Overlay) error {
			for _, d := range o.Deployments {
				if (d.Name == render.Client) != clients {
					continue
				}
				d = render.ForRun(d, service, replicas, e.options.ClientEnv)
				if clients && e.clientNode != "" {
					d.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: e.clientNode}
				}
				if err := e.api.apply(ctx, d); err != nil {
					return err
				}
				if err := e.awaitReady(ctx, d); err != nil {
					return err
				}
			}

			return nil
		}); err != nil {
			return err
		}
	}

	return nil
}

// makeRoom deletes namespaces that an earlier lab has left, and refuses to touch any other.
func (e *Environment) makeRoom(ctx context.Context, overlays []*render.Overlay) error {
	return each(overlays, func(o *render.Overlay) error {
		namespace := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.Namespace}}
		found, err := e.api.get(ctx, &namespace)
		switch {
		case err != nil || !found:
			return err
		case namespace.Labels[managedBy] != manager:
			return fmt.Errorf("the namespace %s exists, and the lab makes it anew: kubectl delete namespace %s", o.Namespace, o.Namespace)
		case namespace.DeletionTimestamp == nil:
			e.options.Log("deleting the namespace " + o.Namespace + ", which an earlier run has left")
		}

		return e.delete(ctx, []*render.Overlay{o})
	})
}

// namespaceOf is the overlay's namespace with the lab's mark.
func namespaceOf(o *render.Overlay) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.Namespace}}
	for _, object := range o.Objects {
		if given, ok := object.(*corev1.Namespace); ok && given.Name == o.Namespace {
			namespace = given.DeepCopy()
		}
	}
	metav1.SetMetaDataLabel(&namespace.ObjectMeta, managedBy, manager)

	return namespace
}

// prepare applies all of an overlay but the Deployments, and begins to watch its namespace.
func (e *Environment) prepare(ctx context.Context, o *render.Overlay) error {
	objects := []runtime.Object{namespaceOf(o)}
	for _, object := range o.Objects {
		switch object.(type) {
		case *appsv1.Deployment, *corev1.Namespace:
		default:
			objects = append(objects, object)
		}
	}
	for _, object := range objects {
		if err := e.api.apply(ctx, object); err != nil {
			return err
		}
	}
	w := newWatch(e.api, o.Namespace)
	e.mu.Lock()
	e.watches[o.Namespace] = w
	e.mu.Unlock()
	e.watching.Go(func() { w.run(e.running) })

	return w.synced(ctx)
}

// patience is how long a container may be in a state that looks hopeless. A kubelet that is busy, or has not heard of a
// ConfigMap yet, says so too, and tries again.
const patience = 20 * time.Second

// hopeless are the reasons for which a container that waits will not be ready soon.
var hopeless = []string{
	"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName",
}

// awaitReady waits until all pods of a Deployment are ready.
func (e *Environment) awaitReady(ctx context.Context, d *appsv1.Deployment) error {
	watch := e.watch(d.Namespace)
	var stuck error
	var since time.Time // when it was first seen to be stuck
	err := e.api.until(ctx, d.Name, func(ctx context.Context) (bool, error) {
		now := watch.stuck(d.Name)
		if now == nil || since.IsZero() {
			since = time.Now()
		}
		if now != nil && time.Since(since) >= patience {
			stuck = now

			return true, nil
		}
		found, err := e.api.get(ctx, d)
		if err != nil || !found {
			return false, err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.ReadyReplicas < *d.Spec.Replicas {
			return false, fmt.Errorf("%d of %d pods are ready: %s", s.ReadyReplicas, *d.Spec.Replicas, why(s))
		}

		return true, nil
	})

	return errors.Join(err, stuck)
}

// why is what the controller says of pods that are not there.
func why(s appsv1.DeploymentStatus) string {
	for _, c := range s.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure {
			return c.Message
		}
	}

	return "they are starting"
}

// stuck is an error if a pod of a Deployment has a container that will not run.
func (w *watch) stuck(deployment string) error {
	for _, pod := range w.podsOf(deployment) {
		for _, status := range pod.Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil && slices.Contains(hopeless, waiting.Reason) {
				return fmt.Errorf("pod %s/%s: %s: %s", pod.Namespace, pod.Name, waiting.Reason,
					strings.Join(strings.Fields(waiting.Message), " "))
			}
		}
	}

	return nil
}

// each does something with all overlays at once, and joins the errors.
func each(overlays []*render.Overlay, do func(*render.Overlay) error) error {
	return atOnce(overlays, func(o *render.Overlay) string { return "overlay " + o.Name }, do)
}
