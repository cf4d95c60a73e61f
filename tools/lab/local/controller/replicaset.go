package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// replicaSet is the pods of one version of a Deployment's template. It exists only here, not in the API.
type replicaSet struct {
	namespace, deployment string
	name                  string // rng-6d5f9c7b8
	uid                   types.UID
	template              corev1.PodTemplateSpec // with the label pod-template-hash
	replicas              int                    // how many pods there should be

	// What count found.
	active      []*corev1.Pod // all that are not terminating
	terminating int
	ready       int // of active
	available   int // ready for long enough
}

// setsOf has all ReplicaSets of a Deployment, and the one for its template, which it makes if there is none.
func (c *Controller) setsOf(d *appsv1.Deployment) (current *replicaSet, all []*replicaSet) {
	owner := d.Namespace + "/" + d.Name
	hash := templateHash(&d.Spec.Template)
	name := d.Name + "-" + hash
	for _, set := range c.sets[owner] {
		if set.name == name {
			return set, c.sets[owner]
		}
	}
	set := &replicaSet{namespace: d.Namespace, deployment: d.Name, name: name, uid: uuid.NewUUID(), template: *d.Spec.Template.DeepCopy()}
	set.template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	c.sets[owner] = append(c.sets[owner], set)

	return set, c.sets[owner]
}

// templateHash tells templates apart. It is written as Kubernetes does: in letters and digits that spell no words.
func templateHash(template *corev1.PodTemplateSpec) string {
	sum := fnv.New32a()
	_ = json.NewEncoder(sum).Encode(template) // neither can fail

	return rand.SafeEncodeString(fmt.Sprint(sum.Sum32()))
}

// groupByOwner sorts pods by their ReplicaSet, as namespace/name.
func groupByOwner(pods []*corev1.Pod) map[string][]*corev1.Pod {
	groups := make(map[string][]*corev1.Pod)
	for _, pod := range pods {
		if owner := metav1.GetControllerOf(pod); owner != nil {
			groups[pod.Namespace+"/"+owner.Name] = append(groups[pod.Namespace+"/"+owner.Name], pod)
		}
	}

	return groups
}

// count looks at the pods that there are. It returns how long it is until one that is ready becomes available.
func (set *replicaSet) count(pods map[string][]*corev1.Pod, minReady time.Duration, now time.Time) time.Duration {
	set.active, set.terminating, set.ready, set.available = nil, 0, 0, 0
	next := idle
	for _, pod := range pods[set.namespace+"/"+set.name] {
		if pod.DeletionTimestamp != nil {
			set.terminating++

			continue
		}
		set.active = append(set.active, pod)
		since := readySince(pod)
		if since == nil {
			continue
		}
		set.ready++
		if left := minReady - now.Sub(*since); left > 0 {
			next = min(next, left)
		} else {
			set.available++
		}
	}

	return next
}

// readySince is when the pod last became ready, nil if it is not.
func readySince(pod *corev1.Pod) *time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return &condition.LastTransitionTime.Time
		}
	}

	return nil
}

// scale creates or deletes pods until there are as many as there should be.
func (c *Controller) scale(set *replicaSet) error {
	for range set.replicas - len(set.active) {
		if err := c.createPod(set); err != nil {
			return err
		}
	}
	if excess := len(set.active) - set.replicas; excess > 0 {
		slices.SortStableFunc(set.active, leastMissed)
		for _, pod := range set.active[:excess] {
			c.kubelet.Delete(pod.Namespace, pod.Name)
		}
	}

	return nil
}

// leastMissed orders pods by how little they would be missed, as upstream does (ActivePodsWithRanks in
// pkg/controller): not running before running, not ready before ready, then the one that became ready last, the one
// with more restarts, the one created last.
func leastMissed(a, b *corev1.Pod) int {
	readyA, readyB := readySince(a), readySince(b)
	order := cmp.Or(
		cmp.Compare(isTrue(a.Status.Phase == corev1.PodRunning), isTrue(b.Status.Phase == corev1.PodRunning)),
		cmp.Compare(isTrue(readyA != nil), isTrue(readyB != nil)),
	)
	if order == 0 && readyA != nil {
		order = readyB.Compare(*readyA)
	}

	return cmp.Or(order,
		cmp.Compare(restarts(b), restarts(a)),
		b.Status.StartTime.Compare(a.Status.StartTime.Time))
}

func isTrue(b bool) int {
	if b {
		return 1
	}

	return 0
}

func restarts(pod *corev1.Pod) (n int32) {
	for _, container := range pod.Status.ContainerStatuses {
		n += container.RestartCount
	}

	return n
}

func (c *Controller) createPod(set *replicaSet) error {
	node := c.leastUsedNode(set)
	pod := &corev1.Pod{ObjectMeta: *set.template.ObjectMeta.DeepCopy(), Spec: *set.template.Spec.DeepCopy()}
	pod.Namespace, pod.Name, pod.GenerateName = set.namespace, c.newName(set), set.name+"-"
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: set.name, UID: set.uid, Controller: new(true), BlockOwnerDeletion: new(true),
	}}
	pod.Spec.NodeName = node.Name
	if node.Zone != "" {
		// From 1.35 on pods carry the zone of their node, so that the downward API can tell it.
		pod.Labels[corev1.LabelTopologyZone] = node.Zone
	}
	created := time.Now()
	addr, err := c.kubelet.Create(pod)
	if err != nil {
		return err
	}
	c.lives.created(pod, set.deployment, addr, created)
	// What was made counts, for the choice of the next one's node.
	set.active = append(set.active, pod)

	return nil
}

func (c *Controller) newName(set *replicaSet) string {
	for {
		name := set.name + "-" + rand.String(5)
		if _, taken := apiserver.Get[*corev1.Pod](c.store, set.namespace, name); !taken {
			return name
		}
	}
}

// leastUsedNode spreads the pods of a Deployment over the nodes.
func (c *Controller) leastUsedNode(set *replicaSet) Node {
	used := make(map[string]int)
	for _, each := range c.sets[set.namespace+"/"+set.deployment] {
		for _, pod := range each.active {
			used[pod.Spec.NodeName]++
		}
	}

	return slices.MinFunc(c.nodes, func(a, b Node) int { return cmp.Compare(used[a.Name], used[b.Name]) })
}
