package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/dns"
	"github.com/evenkeel/evenkeel/tools/lab/render"
)

// startTimeout bounds the wait for all pods of all overlays to be ready at first.
const startTimeout = time.Minute

// Start puts the overlays' objects into the store, and waits until their pods are
// ready: first everything but the clients, then those, so that no client
// begins with nobody to call.
func (e *Environment) Start(ctx context.Context, overlays []*render.Overlay, service string, replicas int) error {
	if len(overlays) > maxOverlays {
		return fmt.Errorf("%d overlays are too many at once: up to %d are accepted", len(overlays), maxOverlays)
	}
	if err := checkAddresses(e.block, len(overlays)); err != nil {
		return err
	}
	for i, o := range overlays {
		if err := e.prepare(ctx, i+1, o); err != nil {
			return fmt.Errorf("overlay %s: %w", o.Name, err)
		}
	}
	for _, clients := range []bool{false, true} {
		var names []name
		for _, o := range overlays {
			for _, d := range o.Deployments {
				if (d.Name == render.Client) != clients {
					continue
				}
				d = render.ForRun(d, service, replicas, e.options.ClientEnv)
				if err := e.store.Put(d); err != nil {
					return fmt.Errorf("overlay %s: %w", o.Name, err)
				}
				names = append(names, name{o.Namespace, d.Name})
			}
		}
		if err := e.awaitReady(ctx, names); err != nil {
			return err
		}
	}

	return nil
}

// prepare sets up what one overlay has of its own and stores its objects, all but
// the Deployments.
func (e *Environment) prepare(ctx context.Context, number int, o *render.Overlay) error {
	ns := &namespace{number: number, addrs: newPodAddresses(e.block, number)}
	server, err := dns.Listen(context.WithoutCancel(ctx), e.store, o.Namespace, e.block.dns(number), dns.Options{})
	if err != nil {
		return err
	}
	ns.dns = server
	e.namespaces[o.Namespace] = ns

	clusterIPs := 0
	for _, object := range o.Objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			continue // in their turn
		case *corev1.Service:
			// As the API server does when a Service is created.
			if object.Spec.ClusterIP == "" {
				if clusterIPs == maxClusterIPs {
					return fmt.Errorf("more than %d Services with a ClusterIP", maxClusterIPs)
				}
				ip := e.block.clusterIP(number, clusterIPs).String()
				object.Spec.ClusterIP, object.Spec.ClusterIPs = ip, []string{ip}
				clusterIPs++
			}
		}
		if err := e.put(object); err != nil {
			return err
		}
	}

	return e.issueToken(o, ns)
}

// put stores an object, unless it is of a kind that nothing here acts on.
func (e *Environment) put(object runtime.Object) error {
	if _, ok := object.(*policyv1.PodDisruptionBudget); ok {
		return nil // nobody evicts here
	}
	stored, ok := object.(apiserver.Object)
	if !ok {
		return fmt.Errorf("%T is not an object of the API", object)
	}

	return e.store.Put(stored)
}

// issueToken writes the token of the client's ServiceAccount, if its pod has it
// mounted.
func (e *Environment) issueToken(o *render.Overlay, ns *namespace) error {
	spec := o.Deployments["client"].Spec.Template.Spec
	if spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken {
		return nil
	}
	ns.account = spec.ServiceAccountName
	ns.token = filepath.Join(e.folder.Path, "token-"+o.Namespace)

	return os.WriteFile(ns.token, []byte(e.api.IssueToken(o.Namespace, spec.ServiceAccountName)), 0o600)
}

// name is a Deployment's.
type name struct{ namespace, name string }

// awaitReady waits until every Deployment has all of its pods ready.
func (e *Environment) awaitReady(ctx context.Context, names []name) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not all pods were ready in %v", startTimeout))
	defer cancel()
	for {
		changed := e.store.Changed()
		var waiting *name
		for _, n := range names {
			d, ok := apiserver.Get[*appsv1.Deployment](e.store, n.namespace, n.name)
			if !ok || d.Status.ReadyReplicas < *d.Spec.Replicas {
				waiting = &n
				if err := e.failedToStart(n); err != nil {
					return err
				}

				break
			}
		}
		if waiting == nil {
			return nil
		}
		select {
		case <-changed:
		case <-e.failure:
			return e.err
		case <-ctx.Done():
			return fmt.Errorf("%s/%s: %w", waiting.namespace, waiting.name, context.Cause(ctx))
		}
	}
}
