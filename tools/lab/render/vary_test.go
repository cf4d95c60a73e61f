package render_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/evenkeel/evenkeel/tools/lab/render"
)

func TestAVariantDiffersInTheSettingAndTheNamespaceOnly(t *testing.T) {
	o, err := render.Render("../../../kustomize/overlays/endpointslice")
	if err != nil {
		t.Fatal(err)
	}
	v, err := render.ParseVariation("pre-stop=0s,5s")
	if err != nil {
		t.Fatal(err)
	}
	variants, err := v.Of(o, "rng")
	if err != nil {
		t.Fatal(err)
	}
	if len(variants) != 2 || variants[0].Name != "endpointslice-pre-stop-0s" || variants[1].Namespace != "endpointslice-pre-stop-5s" {
		t.Fatalf("the variants are %+v", variants)
	}
	if pod := variants[0].Deployments["rng"].Spec.Template.Spec; pod.Containers[0].Lifecycle != nil || *pod.TerminationGracePeriodSeconds != 17 {
		t.Errorf("without preStop: %v, %d s of grace", pod.Containers[0].Lifecycle, *pod.TerminationGracePeriodSeconds)
	}
	pod := variants[1].Deployments["rng"].Spec.Template.Spec
	if pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds != 5 || *pod.TerminationGracePeriodSeconds != 22 {
		t.Errorf("preStop: %v, %d s of grace", pod.Containers[0].Lifecycle, *pod.TerminationGracePeriodSeconds)
	}
	if diff := cmp.Diff(o.Deployments["geoip"].Spec, variants[0].Deployments["geoip"].Spec); diff != "" {
		t.Errorf("geoip differs, too:\n%s", diff)
	}
	for _, object := range variants[0].Objects {
		named, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		switch object := object.(type) {
		case *corev1.Namespace:
			if named.GetName() != variants[0].Namespace {
				t.Errorf("the namespace is %s", named.GetName())
			}

			continue
		case *rbacv1.RoleBinding:
			if object.Subjects[0].Namespace != variants[0].Namespace {
				t.Errorf("the subject is in %s", object.Subjects[0].Namespace)
			}
		}
		if named.GetNamespace() != variants[0].Namespace {
			t.Errorf("%T %s is in %q", object, named.GetName(), named.GetNamespace())
		}
	}
	if o.Namespace != "endpointslice" || o.Deployments["rng"].Spec.Template.Spec.Containers[0].Lifecycle == nil {
		t.Error("the overlay has changed")
	}
}

func TestEachSettingIsSet(t *testing.T) {
	o, err := render.Render("../../../kustomize/overlays/dns-round-robin-max-connection-age")
	if err != nil {
		t.Fatal(err)
	}
	vary := func(text string) *render.Overlay {
		v, err := render.ParseVariation(text)
		if err != nil {
			t.Fatal(err)
		}
		variants, err := v.Of(o, "rng")
		if err != nil {
			t.Fatal(err)
		}

		return variants[0]
	}
	if ready := vary("min-ready-seconds=30s").Deployments["rng"].Spec.MinReadySeconds; ready != 30 {
		t.Errorf("minReadySeconds is %d", ready)
	}
	age := ""
	for _, e := range vary("max-connection-age=45s").Deployments["rng"].Spec.Template.Spec.Containers[0].Env {
		if e.Name == "MAX_CONNECTION_AGE" {
			age += e.Value
		}
	}
	if age != "45s" {
		t.Errorf("MAX_CONNECTION_AGE is %q", age)
	}
}

func TestABadVariationNamesTheValueAndWhatIsAccepted(t *testing.T) {
	for text, want := range map[string]string{
		"":                `there is no setting "": give max-connection-age, min-ready-seconds, pre-stop`,
		"prestop=1s":      `there is no setting "prestop"`,
		"pre-stop":        `"" is not accepted: give different whole seconds from 0s to 10m`,
		"pre-stop=1":      `"1" is not accepted`,
		"pre-stop=1.5s":   `"1.5s" is not accepted`,
		"pre-stop=1s,1s":  `"1s" is not accepted`,
		"pre-stop=-1s":    `"-1s" is not accepted`,
		"pre-stop=1s,11m": `"11m" is not accepted`,
	} {
		if _, err := render.ParseVariation(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParseVariation(f *testing.F) {
	f.Add("pre-stop=0s,1s")
	f.Add("max-connection-age=,")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := render.ParseVariation(text)
		if err == nil && (len(v.Values) == 0 || v.Setting == "") {
			t.Errorf("%q is accepted as %+v", text, v)
		}
	})
}
