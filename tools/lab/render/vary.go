package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// Variation is a setting of a service's Deployment with the values that overlays are rendered with, one after the
// other, in place of the manifest's.
type Variation struct {
	Setting string
	Values  []time.Duration
}

// settings are what a Variation may set.
var settings = map[string]func(d *appsv1.Deployment, value time.Duration){
	"pre-stop":          setPreStop,
	"min-ready-seconds": func(d *appsv1.Deployment, value time.Duration) { d.Spec.MinReadySeconds = int32(value / time.Second) },
	"max-connection-age": func(d *appsv1.Deployment, value time.Duration) {
		setEnv(d, map[string]string{"MAX_CONNECTION_AGE": value.String()})
	},
}

// setPreStop sets how long a pod serves on after it was asked to leave. The grace period includes that.
func setPreStop(d *appsv1.Deployment, value time.Duration) {
	pod := &d.Spec.Template.Spec
	c := &pod.Containers[0]
	var before int64
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
		before = c.Lifecycle.PreStop.Sleep.Seconds
	}
	after := int64(value / time.Second)
	c.Lifecycle = nil
	if after > 0 {
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: after}}}
	}
	if grace := pod.TerminationGracePeriodSeconds; grace != nil {
		pod.TerminationGracePeriodSeconds = new(*grace + after - before)
	}
}

// ParseVariation reads a variation as people write it: pre-stop=0s,1s,5s.
func ParseVariation(text string) (Variation, error) {
	name, values, _ := strings.Cut(text, "=")
	if _, ok := settings[name]; !ok {
		return Variation{}, fmt.Errorf("%q: there is no setting %q: give %s, as pre-stop=0s,1s,5s",
			text, name, strings.Join(slices.Sorted(maps.Keys(settings)), ", "))
	}
	v := Variation{Setting: name}
	for value := range strings.SplitSeq(values, ",") {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > 10*time.Minute || d%time.Second != 0 || slices.Contains(v.Values, d) {
			return Variation{}, fmt.Errorf("%q: %q is not accepted: give different whole seconds from 0s to 10m, as pre-stop=0s,1s,5s", text, value)
		}
		v.Values = append(v.Values, d)
	}

	return v, nil
}

// Of are an overlay's variants, in which the service's setting has the values, each in a namespace of its own.
func (v Variation) Of(o *Overlay, service string) ([]*Overlay, error) {
	out := make([]*Overlay, 0, len(v.Values))
	for _, value := range v.Values {
		suffix := fmt.Sprintf("-%s-%s", v.Setting, value)
		variant, err := o.in(o.Namespace + suffix)
		if err != nil {
			return nil, fmt.Errorf("overlay %s: %w", o.Name, err)
		}
		variant.Name = o.Name + suffix
		settings[v.Setting](variant.Deployments[service], value)
		out = append(out, variant)
	}

	return out, nil
}

// maxNamespace is how long a namespace's name may be (RFC 1123).
const maxNamespace = 63

// in is a copy of the overlay in another namespace.
func (o *Overlay) in(namespace string) (*Overlay, error) {
	if len(namespace) > maxNamespace {
		return nil, fmt.Errorf("the namespace %q is longer than %d characters", namespace, maxNamespace)
	}
	c := &Overlay{Name: o.Name, Namespace: namespace, Deployments: map[string]*appsv1.Deployment{}}
	for _, object := range o.Objects {
		object = object.DeepCopyObject()
		if err := move(object, o.Namespace, namespace); err != nil {
			return nil, err
		}
		if d, ok := object.(*appsv1.Deployment); ok {
			c.Deployments[d.Name] = d
		}
		c.Objects = append(c.Objects, object)
	}

	return c, nil
}

// move moves an object from a namespace to another.
func move(object runtime.Object, from, to string) error {
	named, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	switch object := object.(type) {
	case *corev1.Namespace:
		if object.Name == from {
			object.Name = to
		}

		return nil
	case *rbacv1.RoleBinding:
		for i := range object.Subjects {
			if object.Subjects[i].Namespace == from {
				object.Subjects[i].Namespace = to
			}
		}
	case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
		return errors.New("has objects that no namespace holds: those cannot be there twice")
	}
	named.SetNamespace(to)

	return nil
}
