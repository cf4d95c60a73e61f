package kustomize_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// margin is the least time that a server has left, once its drain has timed out, to
// flush its telemetry and exit.
const margin = 2 * time.Second

// environment returns the values that are set literally.
func environment(d *appsv1.Deployment) map[string]string {
	env := make(map[string]string)
	for _, variable := range d.Spec.Template.Spec.Containers[0].Env {
		env[variable.Name] = variable.Value
	}
	return env
}

// forEachDeployment runs a test on the Deployments of all overlays.
func forEachDeployment(t *testing.T, test func(t *testing.T, v variant, d *appsv1.Deployment)) {
	t.Helper()
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		deployments := all[*appsv1.Deployment](r)
		if len(deployments) != 3 {
			t.Fatalf("got %d Deployments, want rng, geoip and client", len(deployments))
		}
		for _, name := range []string{"rng", "geoip", "client"} {
			t.Run(name, func(t *testing.T) { test(t, v, deployments[name]) })
		}
	})
}

// forEachServer leaves the client out.
func forEachServer(t *testing.T, test func(t *testing.T, d *appsv1.Deployment)) {
	t.Helper()
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		if d.Name != "client" {
			test(t, d)
		}
	})
}

// podSecurity reads the labels of the namespace.
func podSecurity(t *testing.T, r rendered, v variant) podsecurity.Policy {
	t.Helper()
	namespace := all[*corev1.Namespace](r)[v.overlay]
	if namespace == nil {
		t.Fatalf("there is no Namespace %s", v.overlay)
	}
	// What an admission controller does that nobody has configured.
	unset := podsecurity.LevelVersion{Level: podsecurity.LevelPrivileged, Version: podsecurity.LatestVersion()}
	asked, errs := podsecurity.PolicyToEvaluate(namespace.Labels, podsecurity.Policy{Enforce: unset, Audit: unset, Warn: unset})
	if len(errs) != 0 {
		t.Fatal(errs.ToAggregate())
	}
	return asked
}

func TestANamespaceEnforcesRestrictedInOneVersionAndWarnsOfTheNext(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		asked := podSecurity(t, r, v)
		if got := asked.Enforce; got.Level != podsecurity.LevelRestricted || got.Version.Latest() {
			t.Errorf("%s is enforced, want restricted in a version that an upgrade of the cluster does not change", got)
		}
		for mode, got := range map[string]podsecurity.LevelVersion{"audit": asked.Audit, "warn": asked.Warn} {
			if got.Level != podsecurity.LevelRestricted || !got.Version.Latest() {
				t.Errorf("%s is %s, want restricted:latest", mode, got)
			}
		}
	})
}

func TestEveryPodMeetsThePodSecurityOfItsNamespace(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	forEachDeployment(t, func(t *testing.T, v variant, d *appsv1.Deployment) {
		asked, template := podSecurity(t, render(t, v), v), d.Spec.Template
		for mode, level := range map[string]podsecurity.LevelVersion{"enforce": asked.Enforce, "audit": asked.Audit, "warn": asked.Warn} {
			for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", mode, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
	})
}

func TestEveryPodIsOneContainerThatCannotWriteToItsImage(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		spec := d.Spec.Template.Spec
		if len(spec.Containers) != 1 || len(spec.InitContainers) != 0 || spec.Containers[0].Name != d.Name {
			t.Fatalf("want one container named %s, got %v", d.Name, spec.Containers)
		}
		if readOnly := spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Error("readOnlyRootFilesystem is not set")
		}
	})
}

func TestEveryContainerHasRequestsAndLimits(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		resources := d.Spec.Template.Spec.Containers[0].Resources
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := resources.Requests[name], resources.Limits[name]
			if request.IsZero() || limit.Cmp(request) < 0 {
				t.Errorf("%s: request %s, limit %s: want both, the limit no less", name, &request, &limit)
			}
		}
	})
}

func TestOnlyTheClientThatWatchesTheAPIHasAToken(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, v variant, d *appsv1.Deployment) {
		want := d.Name == "client" && v.strategy().watches != ""
		if got := d.Spec.Template.Spec.AutomountServiceAccountToken; got == nil || *got != want {
			t.Errorf("automountServiceAccountToken is %v, want %t said outright", got, want)
		}
		if got := d.Spec.Template.Spec.ServiceAccountName; got != d.Name {
			t.Errorf("the ServiceAccount is %q, want the workload's own, %q", got, d.Name)
		}
	})
}

func TestNoServiceInjectsEnvironmentVariables(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		if links := d.Spec.Template.Spec.EnableServiceLinks; links == nil || *links {
			t.Error("enableServiceLinks is not false")
		}
	})
}

func TestEveryProgramIsToldItsPodNodeAndZone(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		for name, want := range map[string]string{
			"POD_NAME": "metadata.name", "NODE_NAME": "spec.nodeName", "ZONE": "metadata.labels['topology.kubernetes.io/zone']",
		} {
			if !slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Env, func(e corev1.EnvVar) bool {
				return e.Name == name && e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == want
			}) {
				t.Errorf("%s does not come from %s", name, want)
			}
		}
	})
}

func TestAServersEnvironmentVariablesAreItsFlags(t *testing.T) {
	// A misspelt variable would be ignored in silence.
	parser, err := kong.New(&struct {
		server.Config
		Telemetry telemetry.Config `embed:""`
	}{}, kong.DefaultEnvars(""), kong.Vars{"port": "0"})
	if err != nil {
		t.Fatal(err)
	}
	// Read by OpenTelemetry's SDK, and by Kubernetes for the value of that.
	known := []string{"OTEL_RESOURCE_ATTRIBUTES", "POD_NAMESPACE"}
	for _, flag := range parser.Model.Flags {
		known = append(known, flag.Envs...)
	}
	forEachServer(t, func(t *testing.T, d *appsv1.Deployment) {
		for name := range environment(d) {
			if !slices.Contains(known, name) {
				t.Errorf("%s is no flag of a server: these are %s", name, strings.Join(known, ", "))
			}
		}
	})
}

func TestTheGracePeriodCoversTheWholeDrain(t *testing.T) {
	forEachServer(t, func(t *testing.T, d *appsv1.Deployment) {
		spec := d.Spec.Template.Spec
		preStop := spec.Containers[0].Lifecycle.PreStop.Sleep
		if preStop == nil || preStop.Seconds < 1 {
			t.Fatal("there is no preStop sleep")
		}
		drain := time.Duration(preStop.Seconds) * time.Second
		for _, name := range []string{"DRAIN_DELAY", "DRAIN_TIMEOUT"} {
			part, err := time.ParseDuration(environment(d)[name])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			drain += part
		}
		if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace < drain+margin {
			t.Errorf("terminationGracePeriodSeconds is %s: a drain takes %s, and %s should be left", grace, drain, margin)
		}
	})
}

func TestAServerIsProbedOverItsOwnGRPCPort(t *testing.T) {
	forEachServer(t, func(t *testing.T, d *appsv1.Deployment) {
		container := d.Spec.Template.Spec.Containers[0]
		for name, probe := range map[string]*corev1.Probe{
			"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe,
		} {
			if probe == nil || probe.GRPC == nil || probe.GRPC.Port != containerPort(t, container, "grpc") {
				t.Errorf("the %s probe is %v, want gRPC on the port named grpc", name, probe)
			}
		}
		if period := container.ReadinessProbe.PeriodSeconds; period != 1 {
			t.Errorf("the readiness probe's period is %d s, want 1", period)
		}
	})
}

func TestTheClientIsProbedOverItsAdminPort(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		if d.Name != "client" {
			return
		}
		container := d.Spec.Template.Spec.Containers[0]
		for want, probe := range map[string]*corev1.Probe{"/readyz": container.ReadinessProbe, "/livez": container.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != want || probe.HTTPGet.Port != intstr.FromString("http-admin") {
				t.Errorf("the probe of %s is %v, want HTTP on the port named http-admin", want, probe)
			}
		}
	})
}

func TestTheClientOpensItsFrontDoorOnThePortNamedGRPC(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		if d.Name != "client" {
			return
		}
		want := strconv.Itoa(int(containerPort(t, d.Spec.Template.Spec.Containers[0], "grpc")))
		if got := environment(d)["PORT"]; got != want {
			t.Errorf("PORT is %q, and the port named grpc is %s", got, want)
		}
	})
}

func TestARolloutNeverHasFewerPodsThanAskedFor(t *testing.T) {
	forEachServer(t, func(t *testing.T, d *appsv1.Deployment) {
		rolling := d.Spec.Strategy.RollingUpdate
		if rolling == nil || *rolling.MaxUnavailable != intstr.FromInt32(0) || *rolling.MaxSurge != intstr.FromInt32(1) {
			t.Errorf("the strategy is %v, want maxUnavailable 0 and maxSurge 1", d.Spec.Strategy)
		}
		if d.Spec.MinReadySeconds < 1 {
			t.Error("minReadySeconds is not set")
		}
		if *d.Spec.Replicas < 2 {
			t.Errorf("%d replicas are not enough to see balancing", *d.Spec.Replicas)
		}
	})
}

func TestAServersPodsAreSpreadOverZonesAndNodes(t *testing.T) {
	forEachServer(t, func(t *testing.T, d *appsv1.Deployment) {
		var keys []string
		for _, constraint := range d.Spec.Template.Spec.TopologySpreadConstraints {
			keys = append(keys, constraint.TopologyKey)
			if !selects(t, constraint.LabelSelector, d) {
				t.Errorf("the constraint on %s does not count the pods themselves", constraint.TopologyKey)
			}
		}
		if !slices.Equal(keys, []string{corev1.LabelTopologyZone, corev1.LabelHostname}) {
			t.Errorf("they are spread over %v", keys)
		}
	})
}

func TestADrainOfANodeTakesOnePodAtATime(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		budgets := all[*policyv1.PodDisruptionBudget](r)
		for _, name := range []string{"rng", "geoip"} {
			budget := budgets[name]
			if budget == nil || budget.Spec.MaxUnavailable == nil || *budget.Spec.MaxUnavailable != intstr.FromInt32(1) {
				t.Errorf("%s: the PodDisruptionBudget is %v, want maxUnavailable 1", name, budget)
			} else if !selects(t, budget.Spec.Selector, all[*appsv1.Deployment](r)[name]) {
				t.Errorf("%s: the PodDisruptionBudget selects other pods", name)
			}
		}
		if len(budgets) != 2 {
			t.Errorf("got %d PodDisruptionBudgets, want 2: one for a single client would block every drain", len(budgets))
		}
	})
}

func TestAllImagesHaveOneVersion(t *testing.T) {
	tags := make(map[string]bool)
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		tag, found := strings.CutPrefix(d.Spec.Template.Spec.Containers[0].Image, "ghcr.io/evenkeel/"+d.Name+":")
		if !found || tag == "" || tag == "latest" {
			t.Errorf("the image is %s, want ghcr.io/evenkeel/%s with a version", d.Spec.Template.Spec.Containers[0].Image, d.Name)
		}
		tags[tag] = true
	})
	if len(tags) != 1 {
		t.Errorf("the images have the versions %v, want one", tags)
	}
}

func TestTheLoadIsTheSameInEveryOverlay(t *testing.T) {
	forEachDeployment(t, func(t *testing.T, _ variant, d *appsv1.Deployment) {
		if d.Name != "client" {
			return
		}
		env := environment(d)
		for name, want := range map[string]string{"RNG_RATE": "180", "GEOIP_RATE": "20", "TIMEOUT": "1s"} {
			if env[name] != want {
				t.Errorf("%s is %q, want %q", name, env[name], want)
			}
		}
		if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
			t.Errorf("want one client, and never two at once; got %d, %s", *d.Spec.Replicas, d.Spec.Strategy.Type)
		}
	})
}

func selects(t *testing.T, selector *metav1.LabelSelector, d *appsv1.Deployment) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return !parsed.Empty() && parsed.Matches(labelsOf(d))
}
