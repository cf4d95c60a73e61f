// Package render turns an overlay into Kubernetes objects, with the library that
// `kubectl kustomize` is made of. The manifests are the single source of truth:
// what the lab runs is what a cluster would be given.
package render

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Overlay is a strategy's manifests, rendered.
type Overlay struct {
	// Name is the overlay's name and, by convention, that of its namespace.
	Name string
	// Namespace is where its objects live.
	Namespace string
	// Objects are all of its objects, as k8s.io/api types.
	Objects []runtime.Object
	// Deployments are those of Objects that run pods, by name.
	Deployments map[string]*appsv1.Deployment
}

// kinds are the API types that an overlay may hold.
var kinds = map[string]func() runtime.Object{
	"v1/Namespace":                             func() runtime.Object { return new(corev1.Namespace) },
	"v1/Service":                               func() runtime.Object { return new(corev1.Service) },
	"v1/ServiceAccount":                        func() runtime.Object { return new(corev1.ServiceAccount) },
	"v1/ConfigMap":                             func() runtime.Object { return new(corev1.ConfigMap) },
	"apps/v1/Deployment":                       func() runtime.Object { return new(appsv1.Deployment) },
	"policy/v1/PodDisruptionBudget":            func() runtime.Object { return new(policyv1.PodDisruptionBudget) },
	"rbac.authorization.k8s.io/v1/Role":        func() runtime.Object { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1/RoleBinding": func() runtime.Object { return new(rbacv1.RoleBinding) },
	"rbac.authorization.k8s.io/v1/ClusterRole": func() runtime.Object { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding": func() runtime.Object {
		return new(rbacv1.ClusterRoleBinding)
	},
}

// Find returns the folder of an overlay: a name in root, or a path.
func Find(root, name string) (string, error) {
	candidates := []string{filepath.Join(root, name)}
	if strings.ContainsRune(name, filepath.Separator) || name == "." {
		candidates = []string{name}
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "kustomization.yaml")); err == nil {
			return dir, nil
		}
	}

	return "", fmt.Errorf("overlay %q: no %s: %s, and paths to a folder with a kustomization.yaml, are accepted",
		name, filepath.Join(candidates[0], "kustomization.yaml"), strings.Join(Names(root), ", "))
}

// Names lists the overlays in root.
func Names(root string) []string {
	// A root that cannot be read has no overlays; Find says where it looked.
	files, _ := filepath.Glob(filepath.Join(root, "*", "kustomization.yaml"))
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(names)

	return names
}

// Render builds the overlay in dir. An error is one line and names the file and,
// where something in it is wrong, the line and what is accepted.
func Render(dir string) (*Overlay, error) {
	name := filepath.Base(dir)
	if abs, err := filepath.Abs(dir); err == nil {
		name = filepath.Base(abs)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("overlay %s: %s: %w", name, filepath.Join(dir, "kustomization.yaml"), oneLine(err))
	}
	o := &Overlay{Name: name, Deployments: map[string]*appsv1.Deployment{}}
	if err := o.decode(dir, built); err != nil {
		return nil, fmt.Errorf("overlay %s: %w", name, err)
	}

	return o, o.check(dir)
}

func (o *Overlay) decode(dir string, built resmap.ResMap) error {
	for _, res := range built.Resources() {
		id := res.GetApiVersion() + "/" + res.GetKind()
		create, ok := kinds[id]
		if !ok {
			return at(locate(dir, res.GetKind(), res.OrgId().Name, "kind"),
				"%s %s is not accepted: give %s", id, res.GetName(), strings.Join(accepted(), ", "))
		}
		object := create()
		if err := decode(res, object); err != nil {
			return at(locate(dir, res.GetKind(), res.OrgId().Name, lastField(err)),
				"%s %s: %w", res.GetKind(), res.GetName(), oneLine(err))
		}
		o.Objects = append(o.Objects, object)
		if deployment, ok := object.(*appsv1.Deployment); ok {
			o.Deployments[deployment.Name] = deployment
		}
	}

	return nil
}

// check makes sure of what the lab needs of any overlay.
func (o *Overlay) check(dir string) error {
	for _, name := range []string{"rng", "geoip", "client"} {
		d, ok := o.Deployments[name]
		if !ok {
			return fmt.Errorf("overlay %s: %s: no Deployment named %q: an overlay has rng, geoip and client",
				o.Name, filepath.Join(dir, "kustomization.yaml"), name)
		}
		if d.Namespace == "" || (o.Namespace != "" && d.Namespace != o.Namespace) {
			return fmt.Errorf("overlay %s: %s: namespace: Deployment %s is in %q: an overlay has one namespace of its own",
				o.Name, filepath.Join(dir, "kustomization.yaml"), name, d.Namespace)
		}
		o.Namespace = d.Namespace
	}

	return nil
}

// Client is the Deployment that measures.
const Client = "client"

// ForRun is a Deployment as a run begins with it: the service with so many replicas, or a client with environment
// variables in place of what its manifest says of them.
func ForRun(d *appsv1.Deployment, service string, replicas int, clientEnv map[string]string) *appsv1.Deployment {
	d = d.DeepCopy()
	switch d.Name {
	case service:
		d.Spec.Replicas = new(int32(replicas))
	case Client:
		setEnv(d, clientEnv)
	}

	return d
}

// setEnv sets environment variables of a Deployment's first container, in place of what it says of them.
func setEnv(d *appsv1.Deployment, env map[string]string) {
	c := &d.Spec.Template.Spec.Containers[0]
	c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(v corev1.EnvVar) bool { _, given := env[v.Name]; return given })
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: env[name]})
	}
}

// decode is strict: an unknown or repeated field is an error, as it is to
// `kubectl apply --validate=strict`.
func decode(res *resource.Resource, into runtime.Object) error {
	text, err := res.MarshalJSON()
	if err != nil {
		return fmt.Errorf("rendering: %w", err)
	}
	strict, err := kjson.UnmarshalStrict(text, into)

	return errors.Join(err, errors.Join(strict...))
}

func accepted() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)

	return names
}

// oneLine makes one line of an error that has several.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if _, missing := errors.AsType[*fs.PathError](err); missing {
		return fmt.Errorf("%s (is it a folder with a kustomization.yaml?)", text)
	}

	return errors.New(text)
}
