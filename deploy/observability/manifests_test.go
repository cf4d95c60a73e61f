// Package observability_test holds what is installed for metrics to what the project promises of it: its manifests, its
// dashboards and its rules.
package observability_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// render is what a folder installs, of one kind, by name.
func render[T any](t *testing.T, folder, kind string) map[string]*T {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*T{}
	for _, resource := range resources.Resources() {
		if resource.GetKind() != kind {
			continue
		}
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object := new(T)
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Fatalf("%s: %v", resource.CurId(), err)
		}
		found[resource.GetName()] = object
	}

	return found
}

// workloads are the folders that install one, named after it.
var workloads = []string{"prometheus", "grafana"}

func TestThePodsMeetThePodSecurityOfTheirNamespace(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range workloads {
		namespace := render[corev1.Namespace](t, name, "Namespace")["observability"]
		deployment := render[appsv1.Deployment](t, name, "Deployment")[name]
		if namespace == nil || deployment == nil || deployment.Namespace != namespace.Name {
			t.Fatalf("%s: there is no Namespace, no Deployment, or it is in another one", name)
		}
		asked, errs := podsecurity.PolicyToEvaluate(namespace.Labels, podsecurity.Policy{})
		if len(errs) != 0 || asked.Enforce.Level != podsecurity.LevelRestricted {
			t.Fatalf("%s: the namespace enforces %s: %v", name, asked.Enforce, errs)
		}
		template := deployment.Spec.Template
		for _, result := range evaluator.EvaluatePod(asked.Enforce, &template.ObjectMeta, &template.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	}
}

func TestThePodsAreAsModestAsThoseOfTheOverlays(t *testing.T) {
	for _, name := range workloads {
		spec := render[appsv1.Deployment](t, name, "Deployment")[name].Spec.Template.Spec
		container := spec.Containers[0]
		if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s can write to its image", name)
		}
		for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := container.Resources.Requests[resource], container.Resources.Limits[resource]
			if request.IsZero() || limit.Cmp(request) < 0 {
				t.Errorf("%s: %s: request %s, limit %s", name, resource, &request, &limit)
			}
		}
		if container.StartupProbe == nil || container.ReadinessProbe == nil || container.LivenessProbe == nil {
			t.Errorf("%s: a probe is missing", name)
		}
		for _, volume := range spec.Volumes {
			if volume.EmptyDir != nil && volume.EmptyDir.SizeLimit == nil {
				t.Errorf("%s: the volume %s has no limit", name, volume.Name)
			}
		}
		if token := spec.AutomountServiceAccountToken; token == nil || *token != (name == "prometheus") {
			t.Errorf("%s: automountServiceAccountToken is %v; Prometheus alone asks the API server", name, token)
		}
		service := render[corev1.Service](t, name, "Service")[name]
		want := map[string]int32{"prometheus": 9090, "grafana": 3000}[name]
		if service.Spec.Ports[0].Port != want || !selects(service.Spec.Selector, spec, render[appsv1.Deployment](t, name, "Deployment")[name].Spec.Template.Labels) {
			t.Errorf("%s: the Service is %v", name, service.Spec)
		}
	}
}

// selects says that a Service's selector picks a pod whose port has the name that it forwards to.
func selects(selector map[string]string, spec corev1.PodSpec, of map[string]string) bool {
	return labels.SelectorFromSet(selector).Matches(labels.Set(of)) &&
		slices.ContainsFunc(spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == "http" })
}

func TestPrometheusMayListAndWatchPodsAndNothingElse(t *testing.T) {
	roles := render[rbacv1.ClusterRole](t, "prometheus", "ClusterRole")
	if len(roles) != 1 || len(render[rbacv1.Role](t, "prometheus", "Role")) != 0 {
		t.Fatalf("want one ClusterRole and no Role, got %v", roles)
	}
	for _, role := range roles {
		if len(role.Rules) != 1 || !slices.Equal(role.Rules[0].Resources, []string{"pods"}) ||
			!slices.Equal(role.Rules[0].Verbs, []string{"list", "watch"}) || !slices.Equal(role.Rules[0].APIGroups, []string{""}) {
			t.Errorf("it may do %v", role.Rules)
		}
	}
	for _, binding := range render[rbacv1.ClusterRoleBinding](t, "prometheus", "ClusterRoleBinding") {
		if s := binding.Subjects; len(s) != 1 || s[0].Name != "prometheus" || s[0].Namespace != "observability" || roles[binding.RoleRef.Name] == nil {
			t.Errorf("it is bound as %v", binding)
		}
	}
	if len(render[rbacv1.ClusterRole](t, "grafana", "ClusterRole")) != 0 {
		t.Error("Grafana has a ClusterRole")
	}
}

// version is a tag that does not move.
var version = regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)

func TestAnImagesVersionIsSaidOnce(t *testing.T) {
	for _, name := range workloads {
		image := render[appsv1.Deployment](t, name, "Deployment")[name].Spec.Template.Spec.Containers[0].Image
		if !version.MatchString(image) {
			t.Errorf("%s: the image is %s", name, image)
		}
		_, tag, _ := strings.Cut(image, ":")
		for _, file := range []string{name + "/deployment.yaml", name + "/README.md", "README.md"} {
			if strings.Contains(read(t, file), strings.TrimPrefix(tag, "v")) {
				t.Errorf("%s says the version too: %s", file, tag)
			}
		}
	}
}

// selector is what says in prometheus.yml which pods are scraped.
func selector(t *testing.T) labels.Selector {
	t.Helper()
	var config struct {
		ScrapeConfigs []struct {
			KubernetesSDConfigs []struct {
				Role      string
				Selectors []struct{ Role, Label string }
			} `json:"kubernetes_sd_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	found := config.ScrapeConfigs[0].KubernetesSDConfigs[0]
	parsed, err := labels.Parse(found.Selectors[0].Label)
	if err != nil || found.Role != "pod" || found.Selectors[0].Role != "pod" {
		t.Fatalf("%v: %v", found, err)
	}

	return parsed
}

func TestPrometheusFindsEveryPodOfAnOverlay(t *testing.T) {
	deployments := render[appsv1.Deployment](t, "../../kustomize/overlays/endpointslice", "Deployment")
	if len(deployments) < 3 {
		t.Fatalf("the overlay has %d Deployments", len(deployments))
	}
	for name, deployment := range deployments {
		template := deployment.Spec.Template
		if !selector(t).Matches(labels.Set(template.Labels)) {
			t.Errorf("%s: %v is not selected by %s", name, template.Labels, selector(t))
		}
		if !slices.ContainsFunc(template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == "http-admin" }) {
			t.Errorf("%s has no port http-admin", name)
		}
	}
}

func TestThePodMonitorIsTheSameAsTheScrapeConfig(t *testing.T) {
	var monitor struct {
		Spec struct {
			Selector struct {
				MatchExpressions []struct {
					Key, Operator string
					Values        []string
				}
			}
			NamespaceSelector   struct{ Any bool }
			PodMetricsEndpoints []struct{ Port, Interval string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus-operator/podmonitor.yaml")), &monitor); err != nil {
		t.Fatal(err)
	}
	expression := monitor.Spec.Selector.MatchExpressions[0]
	if got := expression.Key + " in (" + strings.Join(expression.Values, ", ") + ")"; !strings.Contains(read(t, "prometheus/prometheus.yml"), "label: "+got+"\n") {
		t.Errorf("the PodMonitor selects %s", got)
	}
	if endpoint := monitor.Spec.PodMetricsEndpoints[0]; endpoint.Port != "http-admin" || endpoint.Interval != "5s" || !monitor.Spec.NamespaceSelector.Any {
		t.Errorf("the PodMonitor is %v", monitor.Spec)
	}
}
