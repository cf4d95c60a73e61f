// Package kustomize_test holds the manifests to what the project promises of them.
// It renders each overlay with the kustomize library, as the lab does, alone and with
// every set of components.
package kustomize_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// variant is an overlay with some components, or with none.
type variant struct {
	overlay    string
	components []string
}

// String is what diff.sh calls it: endpointslice+retries.
func (v variant) String() string {
	return strings.Join(append([]string{v.overlay}, v.components...), "+")
}

// forEachOverlay runs a test on every overlay, alone and with every set of components: a
// component must leave whole whatever it is put into. They come from the folders, so that
// nobody can forget to list a new one.
func forEachOverlay(t *testing.T, test func(t *testing.T, v variant, r rendered)) {
	t.Helper()
	for _, overlay := range folders(t, "overlays") {
		for _, set := range subsets(folders(t, "components")) {
			v := variant{overlay, set}
			t.Run(v.String(), func(t *testing.T) { test(t, v, render(t, v)) })
		}
	}
}

// subsets begins with the empty one.
func subsets(names []string) [][]string {
	sets := [][]string{nil}
	for _, name := range names {
		for _, set := range sets {
			sets = append(sets, append(slices.Clone(set), name))
		}
	}
	return sets
}

// folders lists those in dir that hold a kustomization.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "kustomization.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no folders with a kustomization.yaml: %v", dir, err)
	}
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names
}

// results holds what has been rendered, for the other tests. They must not change what
// they look at.
var results = make(map[string]rendered)

func render(t *testing.T, v variant) rendered {
	t.Helper()
	if r, done := results[v.String()]; done {
		return r
	}
	files := sources(t)
	dir := "/kustomize/overlays/" + v.overlay
	if len(v.components) > 0 {
		// As somebody does it who does not want to change the overlay.
		text := "resources: [../" + v.overlay + "]\ncomponents:\n"
		for _, component := range v.components {
			text += "- ../../components/" + component + "\n"
		}
		dir = "/kustomize/overlays/variant"
		if err := files.WriteFile(dir+"/kustomization.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
	if err != nil {
		t.Fatal(err)
	}
	var r rendered
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, err := decode(text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", resource.CurId(), err, text)
		}
		r = append(r, object)
	}
	results[v.String()] = r
	return r
}

// sources is a copy of the manifests in memory, to which overlays can be added.
func sources(t *testing.T) filesys.FileSystem {
	t.Helper()
	files := filesys.MakeFsInMemory()
	root := os.DirFS("..")
	for _, dir := range []string{"kustomize", "deploy"} {
		err := fs.WalkDir(root, dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			return files.WriteFile("/"+path, text)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

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
