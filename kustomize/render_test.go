// Package kustomize_test holds the manifests to what the project promises of them.
// It renders each overlay with the kustomize library, as the lab does.
package kustomize_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// newObject has every kind that an overlay may contain, in its current version. An
// old version of one is as unknown as a kind that does not exist.
var newObject = map[string]func() metav1.Object{
	"v1 Namespace":                             func() metav1.Object { return new(corev1.Namespace) },
	"v1 ServiceAccount":                        func() metav1.Object { return new(corev1.ServiceAccount) },
	"v1 ConfigMap":                             func() metav1.Object { return new(corev1.ConfigMap) },
	"v1 Service":                               func() metav1.Object { return new(corev1.Service) },
	"apps/v1 Deployment":                       func() metav1.Object { return new(appsv1.Deployment) },
	"policy/v1 PodDisruptionBudget":            func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"rbac.authorization.k8s.io/v1 Role":        func() metav1.Object { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1 RoleBinding": func() metav1.Object { return new(rbacv1.RoleBinding) },
}

// rendered is what an overlay installs.
type rendered []metav1.Object

// all returns the objects of one type, by name.
func all[T metav1.Object](r rendered) map[string]T {
	found := make(map[string]T)
	for _, object := range r {
		if typed, ok := object.(T); ok {
			found[typed.GetName()] = typed
		}
	}
	return found
}

// strategyOf returns the client's part of a strategy. The name of its ConfigMap ends
// in a hash, so that the client restarts when the strategy changes.
func strategyOf(t *testing.T, r rendered) map[string]string {
	t.Helper()
	configMaps := slices.Collect(maps.Values(all[*corev1.ConfigMap](r)))
	if len(configMaps) != 1 || !strings.HasPrefix(configMaps[0].Name, "strategy-") {
		t.Fatalf("got the ConfigMaps %v, want one that is named strategy-HASH", configMaps)
	}
	return configMaps[0].Data
}

// forEachOverlay runs a test on every folder of overlays, so that nobody can forget
// to list a new one.
func forEachOverlay(t *testing.T, test func(t *testing.T, overlay string, r rendered)) {
	t.Helper()
	for _, overlay := range overlays(t) {
		t.Run(overlay, func(t *testing.T) {
			test(t, overlay, render(t, overlay))
		})
	}
}

func overlays(t *testing.T) []string {
	t.Helper()
	names, err := renderAll()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(names))
}

func render(t *testing.T, overlay string) rendered {
	t.Helper()
	r, err := renderAll()
	if err != nil {
		t.Fatal(err)
	}
	return r[overlay]
}

// renderAll renders every overlay, once for all tests. They must not change what they
// look at.
var renderAll = sync.OnceValues(func() (map[string]rendered, error) {
	entries, err := os.ReadDir("overlays")
	if err != nil {
		return nil, err
	}
	overlays := make(map[string]rendered)
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
			Run(filesys.MakeFsOnDisk(), filepath.Join("overlays", entry.Name()))
		if err != nil {
			return nil, err
		}
		for _, resource := range resources.Resources() {
			text, err := resource.AsYAML()
			if err != nil {
				return nil, err
			}
			object, err := decode(text)
			if err != nil {
				return nil, fmt.Errorf("overlay %s: %s: %w\n%s", entry.Name(), resource.CurId(), err, text)
			}
			overlays[entry.Name()] = append(overlays[entry.Name()], object)
		}
	}
	return overlays, nil
})

// decode is as strict as an API server told to be (fieldValidation=Strict), and with
// its decoder: a field that the type does not have is an error.
func decode(text []byte) (metav1.Object, error) {
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(text, &meta); err != nil {
		return nil, err
	}
	create, known := newObject[meta.APIVersion+" "+meta.Kind]
	if !known {
		return nil, fmt.Errorf("%s %s is not of a kind and version that overlays may use", meta.APIVersion, meta.Kind)
	}
	encoded, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	object := create()
	wrong, err := json.UnmarshalStrict(encoded, object)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	return object, nil
}

func TestAnOutdatedOrMisspeltManifestIsNoticed(t *testing.T) {
	for name, text := range map[string]string{
		"a deprecated kind":     "apiVersion: v1\nkind: Endpoints\nmetadata: {name: rng}",
		"a version long gone":   "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: rng}",
		"an unknown field":      "apiVersion: v1\nkind: Service\nmetadata: {name: rng}\nspec: {clusterIp: None}",
		"a field in wrong case": "apiVersion: v1\nkind: Service\nmetadata: {name: rng}\nspec: {ClusterIP: None}",
		"a field twice":         "apiVersion: v1\nkind: Service\nmetadata: {name: rng}\nspec: {clusterIP: None, clusterIP: None}",
		"a wrong type":          "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: rng}\nspec: {replicas: many}",
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
