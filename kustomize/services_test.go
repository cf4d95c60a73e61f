package kustomize_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func labelsOf(d *appsv1.Deployment) labels.Set { return d.Spec.Template.Labels }

func containerPort(t *testing.T, c corev1.Container, name string) int32 {
	t.Helper()
	for _, port := range c.Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	t.Fatalf("container %s has no port named %q", c.Name, name)
	return 0
}

func TestAnOverlayKeepsToItsOwnNamespace(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		for _, object := range r {
			namespace, isNamespace := object.(*corev1.Namespace)
			switch {
			case !isNamespace && object.GetNamespace() != v.overlay:
				t.Errorf("%T %s is in the namespace %q", object, object.GetName(), object.GetNamespace())
			case isNamespace && namespace.Name != v.overlay:
				t.Errorf("the Namespace is %q", namespace.Name)
			}
		}
		if count := len(all[*corev1.Namespace](r)); count != 1 {
			t.Errorf("got %d Namespaces, want 1", count)
		}
	})
}

func TestAnOverlayHasOnlyTheServicesItUses(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		services := all[*corev1.Service](r)
		got := slices.Sorted(maps.Keys(services))
		if diff := cmp.Diff(v.strategy().services, got); diff != "" {
			t.Errorf("Services (-want +got):\n%s", diff)
		}
		for name, service := range services {
			if headless := service.Spec.ClusterIP == corev1.ClusterIPNone; headless != strings.HasSuffix(name, "-headless") {
				t.Errorf("%s: clusterIP is %q", name, service.Spec.ClusterIP)
			}
			if service.Spec.PublishNotReadyAddresses {
				t.Errorf("%s publishes pods that are not ready", name)
			}
		}
	})
}

func TestAServiceReachesPortsByName(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		for name, service := range all[*corev1.Service](r) {
			deployment := all[*appsv1.Deployment](r)[strings.TrimSuffix(name, "-headless")]
			if !labels.SelectorFromSet(service.Spec.Selector).Matches(labelsOf(deployment)) {
				t.Errorf("%s selects %v, which are not the pods of %s", name, service.Spec.Selector, deployment.Name)
			}
			var names []string
			for _, port := range service.Spec.Ports {
				names = append(names, port.Name)
				if port.TargetPort != intstr.FromString(port.Name) {
					t.Errorf("%s: the target port of %s is %s, want the container port of that name", name, port.Name, &port.TargetPort)
				}
				// A client of a headless Service dials the pod itself, where
				// nothing translates ports.
				if want := containerPort(t, deployment.Spec.Template.Spec.Containers[0], port.Name); port.Port != want {
					t.Errorf("%s: port %s is %d, and the container's is %d", name, port.Name, port.Port, want)
				}
			}
			if want := []string{"grpc", "http-admin"}; !slices.Equal(names, want) {
				t.Errorf("%s has the ports %v, want %v", name, names, want)
			}
		}
	})
}

func TestATargetNamesAPortOfAServiceOfTheOverlay(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		data := strategyOf(t, r)
		for _, target := range []string{data["RNG_TARGET"], data["GEOIP_TARGET"]} {
			_, endpoint, _ := strings.Cut(target, ":///")
			name, port, _ := strings.Cut(endpoint, ":")
			service := all[*corev1.Service](r)[name]
			if service == nil {
				t.Errorf("%s: there is no Service %q", target, name)
				continue
			}
			if !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool {
				return p.Name == "grpc" && (port == p.Name || port == strconv.Itoa(int(p.Port)))
			}) {
				t.Errorf("%s: %q is not the gRPC port of %s", target, port, name)
			}
		}
	})
}

func TestEveryWorkloadHasAServiceAccountWithoutAToken(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		accounts := all[*corev1.ServiceAccount](r)
		if got := slices.Sorted(maps.Keys(accounts)); !slices.Equal(got, []string{"client", "geoip", "rng"}) {
			t.Errorf("the ServiceAccounts are %v", got)
		}
		for name, account := range accounts {
			if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("%s mounts its token into whichever pod does not object", name)
			}
		}
	})
}

func TestTheRoleHasExactlyTheVerbsThatTheResolverUses(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		var roles []rbacv1.PolicyRule
		for _, role := range all[*rbacv1.Role](r) {
			roles = append(roles, role.Rules...)
		}
		bindings := slices.Collect(maps.Values(all[*rbacv1.RoleBinding](r)))
		if v.strategy().watches == "" {
			if len(roles) != 0 || len(bindings) != 0 {
				t.Errorf("nobody here talks to the API, and yet there are the rules %v and bindings %v", roles, bindings)
			}
			return
		}
		want := map[string][]rbacv1.PolicyRule{
			// kuberesolver v5 gets and watches each by its name.
			"endpoints": {{
				APIGroups: []string{""}, Resources: []string{"endpoints"},
				ResourceNames: []string{"rng-headless", "geoip-headless"}, Verbs: []string{"get", "watch"},
			}},
			// Names of slices are generated.
			"endpointslices": {{
				APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"},
			}},
		}[v.strategy().watches]
		if diff := cmp.Diff(want, roles); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		if len(bindings) != 1 {
			t.Fatalf("got %d RoleBindings, want 1", len(bindings))
		}
		subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "client", Namespace: v.overlay}}
		if diff := cmp.Diff(subjects, bindings[0].Subjects); diff != "" {
			t.Errorf("subjects (-want +got):\n%s", diff)
		}
		ref := bindings[0].RoleRef
		if ref.Kind != "Role" || all[*rbacv1.Role](r)[ref.Name] == nil {
			t.Errorf("the RoleBinding refers to %v, which is not there", ref)
		}
	})
}

// docs/inspect.md: the inspect port is off, and nothing leads to it.
func TestTheInspectPortIsOffAndNoServiceLeadsThere(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		for name, service := range all[*corev1.Service](r) {
			for _, port := range service.Spec.Ports {
				if port.Name != "grpc" && port.Name != "http-admin" {
					t.Errorf("Service %s has the port %q: it is to have grpc and http-admin", name, port.Name)
				}
			}
		}
		for name, deployment := range all[*appsv1.Deployment](r) {
			for _, c := range deployment.Spec.Template.Spec.Containers {
				for _, e := range c.Env {
					if e.Name == "INSPECT_PORT" {
						t.Errorf("%s sets %s", name, e.Name)
					}
				}
				if strings.Contains(strings.Join(c.Args, " "), "--inspect-port") {
					t.Errorf("%s has %v", name, c.Args)
				}
			}
		}
	})
}
