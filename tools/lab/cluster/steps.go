package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

// Why a step is not done.
const (
	needsTool    = "Kubernetes has no request for it: name the program of tools/cluster that started the cluster with --cluster-tool"
	needsConsent = "it disturbs more than the overlays' namespaces: allow it by naming the cluster with --context"
)

// Check is an error if the environment cannot do a step of a scenario. It chooses where clients measure in peace.
func (e *Environment) Check(ctx context.Context, s *scenario.Scenario) error {
	cannot := map[string]string{}
	if e.options.Tool == "" {
		for _, step := range []string{"freeze", "freeze-node", "partition-node", "loss", "delay", "api-server"} {
			cannot[step] = needsTool
		}
	}
	if e.options.Tool == "" && e.options.Context == "" {
		for _, step := range []string{"drain-node", "cordon", "dns"} {
			cannot[step] = needsConsent
		}
	}
	if err := s.Refuse(Kind, cannot); err != nil {
		return err
	}
	nodes, err := e.nodes(ctx)
	if err != nil {
		return err
	}
	disturbed := map[int]bool{}
	for _, p := range s.Phases {
		for _, number := range p.Nodes() {
			if number > len(nodes) {
				return fmt.Errorf("scenario %s: phase %q: node %d: there are %d that take pods", s.Name, p.Name, number, len(nodes))
			}
		}
		for _, number := range p.Disturbed() {
			disturbed[number] = true
		}
		if len(disturbed) == len(nodes) {
			return fmt.Errorf("scenario %s: phase %q: each of the %d nodes is frozen, cut off or slowed down at some time: leave one alone, for the clients to measure on",
				s.Name, p.Name, len(nodes))
		}
		if p.Delay != nil { // the kernel may not have what it takes: try it
			if err := e.once(ctx, "delay", nodes[p.Delay.Node-1].Name, p.Delay.By.String(), "--until-eof"); err != nil {
				return fmt.Errorf("scenario %s: phase %q: delay: %w", s.Name, p.Name, err)
			}
		}
	}
	for i := range nodes {
		if len(disturbed) > 0 && !disturbed[i+1] {
			e.clientNode = nodes[i].Labels[corev1.LabelHostname]

			break
		}
	}

	return nil
}

// Act does what a phase says to all overlays at once. What needs the API server comes before it goes down, and deaths
// come last, when all else that is to disturb them is there.
func (e *Environment) Act(
	ctx context.Context, overlays []*render.Overlay, service string, p scenario.Phase,
) (undo func() error, err error) {
	a := &act{Environment: e, ctx: ctx}
	nodes, err := e.nodes(ctx)
	if len(p.Nodes()) > 0 && err != nil {
		return nil, err
	}
	// Pods are chosen while all that are ready are.
	chosen, err := e.choose(overlays, service, p.Kill, p.Delete, p.Freeze)
	if err != nil {
		return nil, err
	}
	name := func(number int) string { return nodes[number-1].Name }
	for _, step := range []struct {
		wanted bool
		do     func() error
	}{
		{p.Scale != nil, func() error { return a.scale(overlays, service, p) }},
		{p.Rollout, func() error { return a.rollOut(overlays, service) }},
		{p.Delete > 0, func() error { return a.deletePods(chosen.delete) }},
		{p.Cordon > 0, func() error { return a.cordon(name(p.Cordon)) }},
		{p.DrainNode > 0, func() error { return a.drain(name(p.DrainNode), overlays, service) }},
		{p.DNSDown, a.dnsDown},
		{p.Loss != nil, func() error { return a.fault("loss", name(p.Loss.Node), fmt.Sprint(p.Loss.Percent)) }},
		{p.Delay != nil, func() error { return a.fault("delay", name(p.Delay.Node), p.Delay.By.String()) }},
		{p.APIServerDown, func() error { return a.fault("api-server") }},
		{p.PartitionNode > 0, func() error { return a.fault("partition", name(p.PartitionNode)) }},
		{p.FreezeNode > 0, func() error { return a.fault("freeze-node", name(p.FreezeNode)) }},
		{p.Freeze > 0, func() error { return a.freeze(chosen.freeze) }},
		{p.Kill > 0, func() error { return a.kill(chosen.kill, p.APIServerDown) }},
	} {
		if !step.wanted {
			continue
		}
		if err := step.do(); err != nil {
			return a.undo, err
		}
	}

	return a.undo, nil
}

// act is a phase that goes on.
type act struct {
	*Environment

	ctx   context.Context //nolint:containedctx // it is that of one call of Act
	mu    sync.Mutex
	undos []func(context.Context) error
}

// undoTimeout bounds how long the end of a phase may take.
const undoTimeout = time.Minute

// undo ends what has an end, the last first. It does so also when the run was cancelled.
func (a *act) undo() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), undoTimeout)
	defer cancel()
	var errs []error
	for _, undo := range slices.Backward(a.undos) {
		errs = append(errs, undo(ctx))
	}

	return errors.Join(errs...)
}

// later has something undone at the end of the phase.
func (a *act) later(f func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.undos = append(a.undos, f)
}

// chosen are the pods that a phase does something to.
type chosen struct{ kill, delete, freeze []*corev1.Pod }

// choose chooses so many pods of each overlay, the oldest first, and none twice.
func (e *Environment) choose(overlays []*render.Overlay, service string, kill, del, freeze int) (chosen, error) {
	var c chosen
	for _, o := range overlays {
		pods, err := e.watch(o.Namespace).readyPods(service, kill+del+freeze)
		if err != nil {
			return chosen{}, fmt.Errorf("overlay %s: %w", o.Name, err)
		}
		c.kill = append(c.kill, pods[:kill]...)
		c.delete = append(c.delete, pods[kill:kill+del]...)
		c.freeze = append(c.freeze, pods[kill+del:]...)
	}

	return c, nil
}

func (a *act) scale(overlays []*render.Overlay, service string, p scenario.Phase) error {
	return each(overlays, func(o *render.Overlay) error {
		return a.api.merge(a.ctx, o.Deployments[service].DeepCopy(), map[string]any{"spec": map[string]any{"replicas": *p.Scale}})
	})
}

// rollOut does what `kubectl rollout restart` does, with nanoseconds: two in one second are two.
func (a *act) rollOut(overlays []*render.Overlay, service string) error {
	at := time.Now().Format(time.RFC3339Nano)

	return each(overlays, func(o *render.Overlay) error {
		return a.api.merge(a.ctx, o.Deployments[service].DeepCopy(), map[string]any{"spec": map[string]any{"template": map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{"kubectl.kubernetes.io/restartedAt": at}},
		}}})
	})
}

func (a *act) deletePods(pods []*corev1.Pod) error {
	return eachPod(pods, func(pod *corev1.Pod) error { return a.api.delete(a.ctx, pod.DeepCopy(), metav1.DeleteOptions{}) })
}

// kill has the tool kill all processes of pods, and deletes the pods at once, so that others take their place. Without a
// tool there is only the deletion, after which a kubelet still gives a pod up to two seconds.
func (a *act) kill(pods []*corev1.Pod, apiServerDown bool) error {
	if a.options.Tool == "" {
		a.note("kill: pods were deleted without grace, which is the hardest that Kubernetes is asked for; their kubelets sent SIGTERM, and SIGKILL 2 s later.")
	}

	return eachPod(pods, func(pod *corev1.Pod) error {
		a.watch(pod.Namespace).lives.kill(pod.Name)
		if a.options.Tool != "" {
			if err := a.once(a.ctx, "kill-pod", pod.Namespace+"/"+pod.Name); err != nil {
				return err
			}
		}
		if apiServerDown {
			return nil // the kubelet starts its container again
		}

		return a.api.delete(a.ctx, pod.DeepCopy(), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	})
}

func (a *act) freeze(pods []*corev1.Pod) error {
	return eachPod(pods, func(pod *corev1.Pod) error { return a.fault("freeze-pod", pod.Namespace+"/"+pod.Name) })
}

// note tells a reader of the results something, once.
func (e *Environment) note(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.notes, text) {
		e.notes = append(e.notes, text)
	}
}

// eachPod does something with all pods at once, and joins the errors.
func eachPod(pods []*corev1.Pod, do func(*corev1.Pod) error) error {
	return atOnce(pods, func(pod *corev1.Pod) string { return "pod " + pod.Namespace + "/" + pod.Name }, do)
}

// atOnce does something with all of them at once, and joins the errors with their names.
func atOnce[T any](all []T, name func(T) string, do func(T) error) error {
	errs := make([]error, len(all))
	var doing sync.WaitGroup
	for i, one := range all {
		doing.Go(func() {
			if err := do(one); err != nil {
				errs[i] = fmt.Errorf("%s: %w", name(one), err)
			}
		})
	}
	doing.Wait()

	return errors.Join(errs...)
}
