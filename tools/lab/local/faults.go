package local

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// Act does what a phase says to one overlay.
func (e *Environment) Act(
	ctx context.Context, o *render.Overlay, service string, p scenario.Phase,
) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, f := range undos {
			f()
		}
	}
	if p.APIServerDown {
		undos = append(undos, e.down(&e.apiFault, e.api.SetDown))
	}
	if p.DNSDown {
		ns := e.namespaces[o.Namespace]
		undos = append(undos, e.down(&ns.fault, ns.dns.SetDown))
	}
	if p.Freeze > 0 {
		if _, err := e.deploy.Freeze(ctx, o.Namespace, service, p.Freeze, p.For); err != nil {
			return undo, err
		}
	}
	if p.Kill > 0 {
		if _, err := e.deploy.Kill(ctx, o.Namespace, service, p.Kill); err != nil {
			return undo, err
		}
	}
	if p.Scale != nil {
		if err := e.deploy.Scale(ctx, o.Namespace, service, int32(*p.Scale)); err != nil {
			return undo, err
		}
	}
	if p.Rollout {
		if err := e.deploy.Rollout(ctx, o.Namespace, service); err != nil {
			return undo, err
		}
	}

	return undo, nil
}

// down begins a fault that overlays may share, and returns what ends it.
func (e *Environment) down(f *fault, set func(bool)) (undo func()) {
	set(f.add(1))

	return func() { set(f.add(-1)) }
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

// rateVariable is the variable that a client takes its rate for a service from.
func rateVariable(service string) string { return strings.ToUpper(service) + "_RATE" }
