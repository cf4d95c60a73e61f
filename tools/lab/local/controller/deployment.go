package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// plan is what a Deployment wants, with defaults filled in and percentages worked out.
type plan struct {
	replicas int
	recreate bool
	// maxSurge and maxUnavailable are numbers of pods.
	maxSurge, maxUnavailable int
	minReady                 time.Duration
}

func planOf(d *appsv1.Deployment) (plan, error) {
	p := plan{replicas: 1, minReady: time.Duration(d.Spec.MinReadySeconds) * time.Second}
	if d.Spec.Replicas != nil {
		p.replicas = int(*d.Spec.Replicas)
	}
	if p.replicas < 0 {
		return plan{}, fmt.Errorf("spec.replicas: %d: must be 0 or more", p.replicas)
	}
	if d.Spec.Paused {
		return plan{}, errors.New("spec.paused: not supported here")
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return plan{}, fmt.Errorf("spec.selector: %w", err)
	}
	if selector.Empty() || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
		return plan{}, fmt.Errorf("spec.selector: %q does not select the labels of spec.template, %q", selector, labels.Set(d.Spec.Template.Labels))
	}
	switch d.Spec.Strategy.Type {
	case appsv1.RecreateDeploymentStrategyType:
		p.recreate = true

		return p, nil
	case appsv1.RollingUpdateDeploymentStrategyType, "":
		return p.rolling(d.Spec.Strategy.RollingUpdate)
	default:
		return plan{}, fmt.Errorf("spec.strategy.type: %q: must be RollingUpdate or Recreate", d.Spec.Strategy.Type)
	}
}

// rolling rounds as upstream does: maxSurge up and maxUnavailable down, and if both come to nothing, one may be
// unavailable.
func (p plan) rolling(rolling *appsv1.RollingUpdateDeployment) (plan, error) {
	surge, unavailable := new(intstr.FromString("25%")), new(intstr.FromString("25%"))
	if rolling != nil && rolling.MaxSurge != nil {
		surge = rolling.MaxSurge
	}
	if rolling != nil && rolling.MaxUnavailable != nil {
		unavailable = rolling.MaxUnavailable
	}
	var err error
	if p.maxSurge, err = intstr.GetScaledValueFromIntOrPercent(surge, p.replicas, true); err != nil || p.maxSurge < 0 {
		return plan{}, fmt.Errorf("spec.strategy.rollingUpdate.maxSurge: %q: must be a number or a percentage, 0 or more", surge)
	}
	if p.maxUnavailable, err = intstr.GetScaledValueFromIntOrPercent(unavailable, p.replicas, false); err != nil || p.maxUnavailable < 0 {
		return plan{}, fmt.Errorf("spec.strategy.rollingUpdate.maxUnavailable: %q: must be a number or a percentage, 0 or more", unavailable)
	}
	if p.maxSurge == 0 && p.maxUnavailable == 0 {
		p.maxUnavailable = 1
	}
	p.maxUnavailable = min(p.maxUnavailable, p.replicas)

	return p, nil
}

// reconcileDeployment decides how many pods each ReplicaSet is to have, sees to it, and writes the status.
func (c *Controller) reconcileDeployment(d *appsv1.Deployment, pods map[string][]*corev1.Pod, now time.Time) (time.Duration, error) {
	p, err := planOf(d)
	if err != nil {
		return 0, err
	}
	current, sets := c.setsOf(d)
	next := idle
	for _, set := range sets {
		next = min(next, set.count(pods, p.minReady, now))
	}
	old := slices.DeleteFunc(slices.Clone(sets), func(set *replicaSet) bool { return set == current })

	switch {
	case !p.recreate:
		p.roll(current, old)
	case scaleToZero(old):
		current.replicas = p.replicas
	}
	for _, set := range sets {
		if err := c.scale(set); err != nil {
			return 0, err
		}
	}
	if err := c.writeStatus(d, current, sets); err != nil {
		return 0, err
	}
	// An old ReplicaSet without pods is of no use: nothing here can undo a rollout.
	c.sets[d.Namespace+"/"+d.Name] = slices.DeleteFunc(sets, func(set *replicaSet) bool {
		return set != current && len(set.active)+set.terminating == 0
	})

	return next, nil
}

// roll decides one step of a rolling update, by upstream's rules (pkg/controller/deployment/rolling.go). Without old
// pods it is just scaling.
func (p plan) roll(current *replicaSet, old []*replicaSet) {
	total := func() (wanted, available int) {
		for _, set := range append(slices.Clone(old), current) {
			wanted += set.replicas
			available += set.available
		}

		return wanted, available
	}

	// New pods: as many as the surge has room for.
	wanted, _ := total()
	room := max(0, p.replicas+p.maxSurge-wanted)
	current.replicas = min(p.replicas, current.replicas+room)

	// Old pods: those that are not available go first, as they serve nobody; in no case more than leaves enough pods
	// if none of the new ones becomes available.
	wanted, available := total()
	enough := p.replicas - p.maxUnavailable
	mayGo := wanted - enough - max(0, current.replicas-current.available)
	if mayGo <= 0 {
		return
	}
	for _, set := range old {
		gone := clamp(set.replicas-set.available, mayGo)
		set.replicas -= gone
		mayGo -= gone
	}
	mayGo = available - enough
	for _, set := range old {
		gone := clamp(set.replicas, mayGo)
		set.replicas -= gone
		mayGo -= gone
	}
}

// clamp is n, but no more than limit and no less than 0.
func clamp(n, limit int) int { return max(0, min(n, limit)) }

// scaleToZero reports whether not one pod of the sets is left, terminating ones included.
func scaleToZero(sets []*replicaSet) bool {
	none := true
	for _, set := range sets {
		set.replicas = 0
		none = none && len(set.active)+set.terminating == 0
	}

	return none
}

func (c *Controller) writeStatus(d *appsv1.Deployment, current *replicaSet, sets []*replicaSet) error {
	status := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, UpdatedReplicas: int32(len(current.active))}
	for _, set := range sets {
		status.Replicas += int32(len(set.active))
		status.ReadyReplicas += int32(set.ready)
		status.AvailableReplicas += int32(set.available)
	}
	status.UnavailableReplicas = max(0, status.Replicas-status.AvailableReplicas)
	_, err := apiserver.Update(c.store, d.Namespace, d.Name, func(d *appsv1.Deployment) { d.Status = status })

	return err
}

func sameJSON(a, b any) bool {
	one, errOne := json.Marshal(a)
	other, errOther := json.Marshal(b)

	return errOne == nil && errOther == nil && string(one) == string(other)
}
