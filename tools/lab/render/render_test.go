package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
)

const overlays = "../../../kustomize/overlays"

func TestEveryOverlayRendersIntoANamespaceOfItsOwn(t *testing.T) {
	names := render.Names(overlays)
	if len(names) < 5 {
		t.Fatalf("overlays found: %q", names)
	}
	for _, name := range names {
		o, err := render.Load(overlays, name)
		if err != nil {
			t.Fatal(err)
		}
		if o.Name != name || o.Namespace != name || len(o.Deployments) != 3 {
			t.Errorf("%s: name %s, namespace %s, %d Deployments", name, o.Name, o.Namespace, len(o.Deployments))
		}
	}
}

func TestABadOverlayIsOneLineThatNamesFileLineAndWhatIsAccepted(t *testing.T) {
	base := mustAbs(t, "../../../kustomize/base")
	for name, test := range map[string]struct{ kustomization, extra, want string }{
		"not YAML":      {"resources: [", "", "kustomization.yaml: invalid Kustomization: yaml: line 1:"},
		"missing file":  {"resources: [nowhere.yaml]", "", "nowhere.yaml"},
		"unknown field": {"resorces: []", "", `unknown field "resorces"`},
		"nothing in it": {"resources: [extra.yaml]", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n", `kustomization.yaml: no Deployment named "rng": an overlay has rng, geoip and client`},
		"no namespace":  {"resources: [BASE]", "", `Deployment rng is in "": an overlay has one namespace of its own`},
		"unknown kind":  {"namespace: x\nresources: [BASE, extra.yaml]", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n", "extra.yaml:2: v1/Secret x is not accepted: give apps/v1/Deployment,"},
		"misspelt":      {"namespace: x\nresources: [BASE, extra.yaml]", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  replica: 3\n", `extra.yaml:6: Deployment x: unknown field "spec.replica"`},
		"wrong type":    {"namespace: x\nresources: [BASE, extra.yaml]", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  replicas: many\n", "extra.yaml:6: Deployment x:"},
		"misspelt by a patch": {
			"namespace: x\nresources: [BASE]\npatches: [{path: extra.yaml}]",
			"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: rng\nspec:\n  template:\n    spec:\n      hostNetwrk: true\n",
			`extra.yaml:8: Deployment rng: unknown field "spec.template.spec.hostNetwrk"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// kustomize refuses absolute paths to folders outside the root's tree.
			rel, err := filepath.Rel(dir, base)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, "kustomization.yaml", strings.ReplaceAll(test.kustomization, "BASE", rel))
			write(t, dir, "extra.yaml", test.extra)
			_, err = render.Render(dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got:  %v\nwant: %s", err, test.want)
			}
		})
	}
}

func TestAnOverlayWithComponentsHasWhatTheyAddInANamespaceOfItsOwn(t *testing.T) {
	o, err := render.Load(overlays, "endpointslice+retries+max-connection-age")
	if err != nil {
		t.Fatal(err)
	}
	if o.Name != "endpointslice+retries+max-connection-age" || o.Namespace != "endpointslice-retries-max-connection-age" {
		t.Errorf("name %s, namespace %s", o.Name, o.Namespace)
	}
	aged := false
	for _, variable := range o.Deployments["rng"].Spec.Template.Spec.Containers[0].Env {
		aged = aged || variable.Name == "MAX_CONNECTION_AGE"
	}
	retries := false
	for _, object := range o.Objects {
		if config, ok := object.(*corev1.ConfigMap); ok {
			retries = strings.Contains(config.Data["RNG_SERVICE_CONFIG"], "retryPolicy")
		}
	}
	if !aged || !retries {
		t.Errorf("the servers hang up: %t; the client retries: %t", aged, retries)
	}
	_, err = render.Load(overlays, "endpointslice+retires")
	want := `overlay "endpointslice+retires": there is no component "retires": give one of keepalive, max-connection-age, retries, tracing`
	if err == nil || err.Error() != want {
		t.Errorf("got:  %v\nwant: %s", err, want)
	}
}

func TestAnUnknownOverlayIsAnErrorThatListsTheKnownOnes(t *testing.T) {
	_, err := render.Find(overlays, "clusterpi")
	if err == nil || !strings.Contains(err.Error(), `overlay "clusterpi"`) || !strings.Contains(err.Error(), "api-watch, ") {
		t.Error(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}

	return abs
}
