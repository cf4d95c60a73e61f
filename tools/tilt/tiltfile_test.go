package tilt_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var services = []string{"client", "geoip", "rng"}

// folders lists those of dir that hold a kustomization.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*", "kustomization.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no folders with a kustomization.yaml: %v", dir, err)
	}
	for i, file := range files {
		files[i] = filepath.Base(filepath.Dir(file))
	}

	return files
}

// at walks down an object; nil where there is nothing.
func at(object any, keys ...string) any {
	for _, key := range keys {
		m, _ := object.(map[string]any)
		object = m[key]
	}

	return object
}

// workloads are what has pods, by name.
func (tl *tilt) workloads() map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, object := range tl.applied {
		if at(object, "spec", "template", "spec", "containers") != nil {
			out[str(at(object, "metadata", "name"))] = object
		}
	}

	return out
}

// container is the only one of a workload.
func container(t *testing.T, workload map[string]any) map[string]any {
	t.Helper()
	containers, _ := at(workload, "spec", "template", "spec", "containers").([]any)
	if len(containers) != 1 {
		t.Fatalf("%s has %d containers, want one", at(workload, "metadata", "name"), len(containers))
	}

	return containers[0].(map[string]any)
}

// by gives calls by one of their arguments.
func by(calls []call, argument string) map[string]call {
	out := map[string]call{}
	for _, c := range calls {
		out[str(c[argument])] = c
	}

	return out
}

// read reads a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	out, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}

	return string(out)
}

// apart takes out of a Deployment what tools/tilt/live puts in, and its namespace.
func apart(t *testing.T, deployment map[string]any) {
	t.Helper()
	delete(deployment["metadata"].(map[string]any), "namespace")
	isLive := func(v any) bool { return at(v, "name") == "live" }
	for _, holder := range []struct {
		of   map[string]any
		list string
	}{
		{at(deployment, "spec", "template", "spec").(map[string]any), "volumes"},
		{container(t, deployment), "volumeMounts"},
	} {
		items, _ := holder.of[holder.list].([]any)
		items = slices.DeleteFunc(items, isLive)
		if delete(holder.of, holder.list); len(items) > 0 {
			holder.of[holder.list] = items
		}
	}
}

func TestEveryOverlayAndEveryComponentCanBeChosen(t *testing.T) {
	namespaces := map[string][]string{} // the arguments that lead there
	for _, overlay := range folders(t, "kustomize/overlays") {
		namespaces[overlay+"-live"] = []string{"--overlay=" + overlay}
	}
	components := folders(t, "kustomize/components")
	for _, component := range components { // with every overlay: go test ./kustomize
		namespaces["clusterip-"+component+"-live"] = []string{"--overlay=clusterip", "--with=" + component}
	}
	namespaces["endpointslice-"+strings.Join(components, "-")+"-live"] = []string{"--with=" + strings.Join(components, ",")}

	for namespace, args := range namespaces {
		t.Run(namespace, func(t *testing.T) {
			tl := up(t, args...)
			for _, service := range services {
				if got := at(tl.workloads()[service], "metadata", "namespace"); got != namespace {
					t.Errorf("%s is in the namespace %v, want %s", service, got, namespace)
				}
			}
			if !slices.ContainsFunc(tl.applied, func(o map[string]any) bool { return identity(o) == "v1 Namespace <nil>/"+namespace }) {
				t.Errorf("the namespace %s is not made", namespace)
			}
		})
	}
}

func TestWithoutArgumentsItIsEndpointslice(t *testing.T) {
	if got := at(up(t).workloads()["rng"], "metadata", "namespace"); got != "endpointslice-live" {
		t.Errorf("rng is in the namespace %v", got)
	}
}

func TestAFolderToWriteToIsAllThatSetsAPodApart(t *testing.T) {
	for _, overlay := range folders(t, "kustomize/overlays") {
		tl := up(t, "--overlay="+overlay)
		text, err := tl.kustomize("kustomize/overlays/" + overlay)
		if err != nil {
			t.Fatal(err)
		}
		alone := &tilt{}
		if err := alone.apply(call{"yaml": text}); err != nil {
			t.Fatal(err)
		}
		for name, want := range alone.workloads() {
			got := tl.workloads()[name]
			mounts, _ := container(t, got)["volumeMounts"].([]any)
			if !slices.ContainsFunc(mounts, func(m any) bool { return at(m, "name") == "live" && at(m, "mountPath") == "/live" }) {
				t.Errorf("%s: %s has no folder /live", overlay, name)
			}
			apart(t, got)
			apart(t, want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s is not as in the overlay (-overlay +Tilt):\n%s", overlay, name, diff)
			}
		}
	}
}

func TestWhatItCannotTakeIsRefusedWithWhatItCan(t *testing.T) {
	on := func(context string) func(*tilt) { return func(tl *tilt) { tl.context = context } }
	nodes := func(kinds string) func(*tilt) { return func(tl *tilt) { tl.nodes = kinds } }
	overlays, components := strings.Join(folders(t, "kustomize/overlays"), ", "), strings.Join(folders(t, "kustomize/components"), ", ")
	for name, test := range map[string]struct {
		args   []string
		change func(*tilt)
		want   string
	}{
		"an overlay":           {[]string{"--overlay=round-robin"}, nil, `--overlay: there is no "round-robin": give one of ` + overlays},
		"no overlay":           {[]string{"--overlay="}, nil, `--overlay: there is no "": give one of ` + overlays},
		"a path":               {[]string{"--overlay=../../deploy/rng"}, nil, `--overlay: there is no "../../deploy/rng"`},
		"a component":          {[]string{"--with=retries,mtls"}, nil, `--with: there is no "mtls": give one of ` + components},
		"a flag":               {[]string{"--overlays=clusterip"}, nil, "unknown flag: --overlays"},
		"a company's cluster":  {nil, on("gke_company_europe-west1_production"), `context "gke_company_europe-west1_production": this changes a cluster as it likes`},
		"almost kind":          {nil, on("mankind-prod"), "give kind-NAME, minikube or docker-desktop"},
		"no cluster":           {nil, on(""), `context "": `},
		"nodes of two kinds":   {nil, nodes("arm64 amd64 arm64"), "--arch: the nodes are amd64 and arm64: give one of them"},
		"a cluster of nothing": {nil, nodes(""), "--arch: the nodes are none"},
	} {
		t.Run(name, func(t *testing.T) {
			tl := prepare(t, test.args...)
			if test.change != nil {
				test.change(tl)
			}
			err := tl.execute()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
			if len(tl.calls["local_resource"]) > 0 {
				t.Error("something was to be compiled before that")
			}
		})
	}
}

func TestClustersOfOnesOwnMachineAreTaken(t *testing.T) {
	for _, context := range []string{"kind-evenkeel", "kind-kind", "minikube", "docker-desktop"} {
		tl := prepare(t)
		tl.context = context
		if err := tl.execute(); err != nil {
			t.Errorf("%s: %v", context, err)
		}
		if calls := tl.calls["allow_k8s_contexts"]; len(calls) > 0 {
			t.Errorf("%s: what Tilt refuses by itself was allowed: %v", context, calls)
		}
	}
}

func TestNoArchitectureAndNoRegistryIsWritten(t *testing.T) {
	hard := regexp.MustCompile(`(?i)amd64|arm64|x86_64|aarch64|ghcr\.io|docker\.io|gcr\.io|quay\.io|localhost:|default_registry|ext://`)
	for _, file := range []string{"Tiltfile", "tools/tilt/Dockerfile", "tools/tilt/restart", "tools/tilt/live/kustomization.yaml"} {
		if found := hard.FindAllString(read(t, file), -1); found != nil {
			t.Errorf("%s has %q", file, found)
		}
	}
}

func TestWhatIsForwardedIsThere(t *testing.T) {
	tl := up(t)
	workloads := tl.workloads()
	locals := by(tl.calls["local_resource"], "name")
	pages := map[string]string{}
	taken := map[int]string{}
	for _, resource := range tl.calls["k8s_resource"] {
		name := str(resource["workload"])
		if workloads[name] == nil {
			t.Errorf("there is no workload %q: %q", name, slices.Sorted(maps.Keys(workloads)))

			continue
		}
		if locals[name] != nil {
			t.Errorf("%s is two resources", name)
		}
		for _, dep := range list(resource["resource_deps"]) {
			if locals[dep] == nil {
				t.Errorf("%s waits for %s, which is not there", name, dep)
			}
		}
		var ports []any
		for _, port := range at(container(t, workloads[name]), "ports").([]any) {
			ports = append(ports, at(port, "containerPort"))
		}
		forwards, _ := resource["port_forwards"].([]any)
		for _, forward := range forwards {
			f := forward.(opaque).call
			if !slices.Contains(ports, any(float64(f["container_port"].(int)))) {
				t.Errorf("%s has no port %v: %v", name, f["container_port"], ports)
			}
			if before, has := taken[f["local_port"].(int)]; has {
				t.Errorf("%s and %s are both to be at port %v", name, before, f["local_port"])
			}
			taken[f["local_port"].(int)] = name
			pages[name] = str(f["name"])
		}
	}
	want := map[string]string{"client": "live page", "jaeger": "traces", "prometheus": "metrics", "grafana": "dashboards"}
	if diff := cmp.Diff(want, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if len(workloads) != len(tl.calls["k8s_resource"]) {
		t.Errorf("%d workloads, %d of them with a place in the page", len(workloads), len(tl.calls["k8s_resource"]))
	}
}

func TestASecondExecutionWritesNothing(t *testing.T) {
	tl := up(t)
	again := prepare(t)
	again.files = tl.files
	if err := again.execute(); err != nil {
		t.Fatal(err)
	}
	for _, c := range again.calls["local"] {
		if list(c["command"])[0] == "tee" {
			t.Errorf("%s: Tilt watches what it reads, and would not come to rest", words(c["command"]))
		}
	}
}

func TestWhatIsWrittenIsAKustomizationThatPeopleCanRead(t *testing.T) {
	tl := up(t, "--overlay=dns-srv", "--with=retries,keepalive")
	content, err := tl.files.ReadFile("/.cache/tilt/dns-srv-retries-keepalive-live/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := yaml.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(`
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: dns-srv-retries-keepalive-live
resources: [../../../kustomize/overlays/dns-srv]
components: [../../../kustomize/components/retries, ../../../kustomize/components/keepalive, ../../../tools/tilt/live]`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheCommandsThatPeopleReadWork(t *testing.T) {
	for _, file := range []string{"Tiltfile", "tools/tilt/README.md"} {
		commands := regexp.MustCompile(`(?m)^ *tilt (?:up|args) -- ((?:--\S+ ?)+)`).FindAllStringSubmatch(read(t, file), -1)
		if len(commands) < 2 {
			t.Errorf("%s has %d commands", file, len(commands))
		}
		for _, command := range commands {
			up(t, strings.Fields(command[1])...)
		}
	}
}
