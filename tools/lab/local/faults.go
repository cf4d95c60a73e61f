package local

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// oneNode is why nothing is done to nodes.
const oneNode = "there is one node, which is this machine"

// Cannot has the steps of scenarios that this environment does not know, and why.
var Cannot = map[string]string{
	"drain-node": oneNode, "cordon": oneNode, "freeze-node": oneNode, "partition-node": oneNode,
	"loss": "pods talk over the loopback device, which loses nothing", "delay": "pods talk over the loopback device",
}

// Act does what a phase says to every overlay at once. What has an end ends with undo.
func (e *Environment) Act(
	ctx context.Context, overlays []*render.Overlay, service string, p scenario.Phase,
) (undo func() error, err error) {
	if p.APIServerDown {
		e.api.SetDown(true)
	}
	for _, o := range overlays {
		if p.DNSDown {
			e.namespaces[o.Namespace].dns.SetDown(true)
		}
	}
	undo = func() error {
		if p.APIServerDown {
			e.api.SetDown(false)
		}
		for _, o := range overlays {
			if p.DNSDown {
				e.namespaces[o.Namespace].dns.SetDown(false)
			}
		}

		return nil
	}
	errs := make([]error, len(overlays))
	var acting sync.WaitGroup
	for i, o := range overlays {
		acting.Go(func() { errs[i] = e.act(ctx, o, service, p) })
	}
	acting.Wait()

	return undo, errors.Join(errs...)
}

// act does what a phase says to one overlay.
func (e *Environment) act(ctx context.Context, o *render.Overlay, service string, p scenario.Phase) error {
	var errs []error
	if p.Freeze > 0 {
		_, err := e.deploy.Freeze(ctx, o.Namespace, service, p.Freeze, p.For)
		errs = append(errs, err)
	}
	if p.Kill > 0 {
		_, err := e.deploy.Kill(ctx, o.Namespace, service, p.Kill)
		errs = append(errs, err)
	}
	if p.Delete > 0 {
		_, err := e.deploy.Delete(ctx, o.Namespace, service, p.Delete)
		errs = append(errs, err)
	}
	if p.Scale != nil {
		errs = append(errs, e.deploy.Scale(ctx, o.Namespace, service, int32(*p.Scale)))
	}
	if p.Rollout {
		errs = append(errs, e.deploy.Rollout(ctx, o.Namespace, service))
	}

	return errors.Join(errs...)
}

// Lives are an overlay's pods, those that are gone too.
func (e *Environment) Lives(o *render.Overlay) []scorecard.Life {
	var lives []scorecard.Life
	for _, l := range e.deploy.Lives(o.Namespace) {
		lives = append(lives, scorecard.Life{
			Name: l.Name, Service: l.Deployment, Address: l.Address.String(), CreatedAt: l.CreatedAt,
			ReadyAt: moment(l.ReadyAt), UnreadyAt: moment(l.UnreadyAt), EndedAt: moment(l.EndedAt), EndReason: l.EndReason,
		})
	}

	return lives
}

// moment is nil for a time that has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}

	return &t
}

// Usage is what an overlay has asked of the API server and of DNS so far. The
// token says whose request it was, the listener whose query.
func (e *Environment) Usage(o *render.Overlay) scorecard.Usage {
	api := e.api.Usage(o.Namespace)

	return scorecard.Usage{
		DNSQueries:  new(e.namespaces[o.Namespace].dns.Queries()),
		APIRequests: &api.Requests,
		WatchEvents: &api.WatchEvents,
		WatchBytes:  &api.WatchBytes,
	}
}

// environment is what a pod finds in its environment beside what its manifest
// says: where the stand-ins are. In a cluster a pod's resolv.conf and its
// ServiceAccount's files say the same.
func (e *Environment) environment(namespace string, pod *corev1.Pod) map[string]string {
	ns := e.namespaces[namespace]
	env := map[string]string{"DNS_SERVER": e.block.dns(ns.number).String()}
	if ns.token != "" && pod.Spec.ServiceAccountName == ns.account {
		env["KUBERNETES_API"] = "http://" + e.block.apiServer().String()
		env["KUBERNETES_TOKEN_FILE"] = ns.token
		env["KUBERNETES_NAMESPACE"] = namespace
	}

	return env
}
