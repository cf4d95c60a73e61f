package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// What the lab leaves on what is not its own while it has changed it, so that the next one can put it right.
const (
	cordonedAnnotation = "evenkeel.dev/cordoned-by"
	replicasAnnotation = "evenkeel.dev/replicas"
)

// system is the namespace of the cluster's own parts.
const system = "kube-system"

// nodes are those that take pods, by name. Cordoned ones count: they are cordoned for a while.
func (e *Environment) nodes(ctx context.Context) ([]corev1.Node, error) {
	var list corev1.NodeList
	if err := e.api.clients[corev1.SchemeGroupVersion].Get().Resource("nodes").Do(ctx).Into(&list); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	nodes := slices.DeleteFunc(list.Items, func(n corev1.Node) bool {
		return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Effect != corev1.TaintEffectPreferNoSchedule && t.Key != corev1.TaintNodeUnschedulable
		})
	})
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })

	return nodes, nil
}

// Cluster describes it.
func (e *Environment) Cluster(ctx context.Context) (*results.Cluster, error) {
	var v version.Info
	text, err := e.api.clients[corev1.SchemeGroupVersion].Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	nodes, err := e.nodes(ctx)
	if err != nil {
		return nil, err
	}
	out := &results.Cluster{Version: v.GitVersion, ProxyMode: e.proxyMode(ctx), Corefile: e.setting(ctx, "coredns", "Corefile")}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, results.Node{
			Name: n.Name, Zone: n.Labels[corev1.LabelTopologyZone], Kubelet: n.Status.NodeInfo.KubeletVersion,
			Runtime: n.Status.NodeInfo.ContainerRuntimeVersion, OS: n.Status.NodeInfo.OSImage,
			Kernel: n.Status.NodeInfo.KernelVersion, Arch: n.Status.NodeInfo.Architecture, CPUs: n.Status.Capacity.Cpu().Value(),
		})
	}

	return out, nil
}

// setting is an entry of a ConfigMap of the cluster's own parts; "" if there is none that may be read: clusters differ.
func (e *Environment) setting(ctx context.Context, name, key string) string {
	c := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name}}
	if found, err := e.api.get(ctx, &c); err != nil || !found {
		return ""
	}

	return c.Data[key]
}

// proxyMode is in kube-proxy's configuration, as kubeadm names it.
func (e *Environment) proxyMode(ctx context.Context) string {
	for line := range strings.Lines(e.setting(ctx, "kube-proxy", "config.conf")) {
		if mode, ok := strings.CutPrefix(strings.TrimSpace(line), "mode:"); ok {
			return cmp.Or(strings.Trim(mode, ` "'`), "iptables") // the default on Linux
		}
	}

	return ""
}

// node is one to make a request about.
func node(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// cordon has a node take no more pods until the end of the phase.
func (a *act) cordon(name string) error {
	n := node(name)
	if _, err := a.api.get(a.ctx, n); err != nil {
		return err
	}
	if n.Spec.Unschedulable {
		return nil // by whom is not ours to undo, or the phase does it twice
	}
	a.later(func(ctx context.Context) error { return a.uncordon(ctx, name) })

	return a.api.merge(a.ctx, node(name), map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{cordonedAnnotation: manager}},
		"spec":     map[string]any{"unschedulable": true},
	})
}

func (e *Environment) uncordon(ctx context.Context, name string) error {
	return e.api.merge(ctx, node(name), map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{cordonedAnnotation: nil}},
		"spec":     map[string]any{"unschedulable": nil},
	})
}

// drain has the service's pods leave a node, as `kubectl drain` does: PodDisruptionBudgets decide how many go at a time.
// It goes on while the phase does.
func (a *act) drain(name string, overlays []*render.Overlay, service string) error {
	if err := a.cordon(name); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(a.ctx)
	drained := make(chan error, 1)
	go func() {
		drained <- each(overlays, func(o *render.Overlay) error {
			return a.api.until(ctx, "drain", func(ctx context.Context) (bool, error) {
				var errs []error
				left := 0
				for _, pod := range a.watch(o.Namespace).podsOf(service) {
					if pod.Spec.NodeName != name {
						continue
					}
					left++
					if pod.DeletionTimestamp == nil {
						_, err := a.api.evict(ctx, pod)
						errs = append(errs, err)
					}
				}

				return left == 0, errors.Join(errs...)
			})
		})
	}()
	a.later(func(context.Context) error {
		select {
		case err := <-drained:
			cancel()

			return err
		default:
		}
		cancel()
		if err := <-drained; err != nil {
			a.note("drain-node: not all pods had left " + name + " by the end of the phase.")
		}

		return nil
	})

	return nil
}

// dnsDown has the cluster's DNS without a server until the end of the phase.
func (a *act) dnsDown() error {
	deployments, err := a.dns(a.ctx)
	if err != nil {
		return err
	}
	if len(deployments) == 0 {
		return fmt.Errorf("dns: no Deployment in %s is labelled k8s-app=kube-dns", system)
	}
	for _, d := range deployments {
		replicas := *d.Spec.Replicas
		a.later(func(ctx context.Context) error { return a.scaleDNS(ctx, &d, replicas, nil) })
		if err := a.scaleDNS(a.ctx, &d, 0, new(strconv.Itoa(int(replicas)))); err != nil {
			return err
		}
	}

	return nil
}

// dns are the Deployments of the cluster's DNS.
func (e *Environment) dns(ctx context.Context) ([]appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	err := e.api.clients[appsv1.SchemeGroupVersion].Get().Namespace(system).Resource("deployments").
		Param("labelSelector", "k8s-app=kube-dns").Do(ctx).Into(&list)

	return list.Items, err
}

// scaleDNS sets how many servers there are, and what a note on it says of how many there were.
func (e *Environment) scaleDNS(ctx context.Context, d *appsv1.Deployment, replicas int32, before *string) error {
	return e.api.merge(ctx, d.DeepCopy(), map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{replicasAnnotation: before}},
		"spec":     map[string]any{"replicas": replicas},
	})
}

// mend puts nodes and DNS right if a lab that was killed has left them changed. It is the first that is asked of the
// cluster.
func (e *Environment) mend(ctx context.Context) error {
	var list corev1.NodeList
	if err := e.api.clients[corev1.SchemeGroupVersion].Get().Resource("nodes").Do(ctx).Into(&list); err != nil {
		return fmt.Errorf("nodes: %w", err)
	}
	for _, n := range list.Items {
		if n.Annotations[cordonedAnnotation] == manager {
			e.options.Log("uncordoning " + n.Name + ", which an earlier run has left")
			if err := e.uncordon(ctx, n.Name); err != nil {
				return err
			}
		}
	}
	deployments, err := e.dns(ctx)
	if err != nil {
		return err
	}
	for _, d := range deployments {
		if before, err := strconv.ParseInt(d.Annotations[replicasAnnotation], 10, 32); err == nil {
			e.options.Log("scaling DNS up again, which an earlier run has left")
			if err := e.scaleDNS(ctx, &d, int32(before), nil); err != nil {
				return err
			}
		}
	}

	return nil
}
