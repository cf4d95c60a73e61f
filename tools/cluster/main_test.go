//go:build linux

package main

import (
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestTheVersionsAreThoseOfGoMod(t *testing.T) {
	v, err := versions(goMod)
	if err != nil {
		t.Fatal(err)
	}
	flags := linkerFlags(v)
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=" + v[kubernetesModule] + " ",
		"-X k8s.io/component-base/version.gitMajor=1 ",
		"-X github.com/containerd/containerd/v2/version.Version=" + strings.TrimPrefix(v[containerdModule], "v"),
	} {
		if !strings.Contains(flags+" ", want) {
			t.Errorf("the linker's flags lack %q:\n%s", want, flags)
		}
	}
	if strings.Contains(flags, "Version=v2") {
		t.Errorf("containerd gives its version without a v:\n%s", flags)
	}
}

func TestAGoModWithoutAComponentIsRefused(t *testing.T) {
	_, err := versions([]byte("module x\nrequire k8s.io/kubernetes v1.36.3\n"))
	if err == nil || !strings.Contains(err.Error(), containerdModule) {
		t.Errorf("got %v, want an error that names %s", err, containerdModule)
	}
}

func TestAnythingThatABinaryIsMadeFromChangesTheStamp(t *testing.T) {
	tree := func() fstest.MapFS {
		return fstest.MapFS{
			"go.mod":                  {Data: []byte("module x")},
			"go.sum":                  {Data: []byte("sum")},
			"components/kube/main.go": {Data: []byte("package main")},
			"image/image.go":          {Data: []byte("package image")},
			"README.md":               {Data: []byte("words")},
		}
	}
	stamp := func(folder fstest.MapFS, rest ...string) string {
		t.Helper()
		out, err := stampOf(folder, rest...)
		if err != nil {
			t.Fatal(err)
		}

		return out
	}
	first := stamp(tree(), "go1.26", "amd64")
	if again := stamp(tree(), "go1.26", "amd64"); again != first {
		t.Error("the same sources have two stamps")
	}
	for _, file := range []string{"go.mod", "go.sum", "components/kube/main.go", "image/image.go"} {
		changed := tree()
		changed[file] = &fstest.MapFile{Data: []byte("changed")}
		if stamp(changed, "go1.26", "amd64") == first {
			t.Errorf("a change of %s leaves the stamp as it was", file)
		}
	}
	if stamp(tree(), "go1.27", "amd64") == first {
		t.Error("another version of Go leaves the stamp as it was")
	}
	words := tree()
	words["README.md"] = &fstest.MapFile{Data: []byte("other words")}
	if stamp(words, "go1.26", "amd64") != first {
		t.Error("a change of the README changes the stamp")
	}
}

func TestProgressKeepsWhatIsNotAPackage(t *testing.T) {
	out := "k8s.io/api/core/v1\n# k8s.io/kubernetes/cmd\nmain.go:3:2: undefined: x\nk8s.io/utils\n"
	if diff := cmp.Diff([]string{"# k8s.io/kubernetes/cmd", "main.go:3:2: undefined: x"}, progress(strings.NewReader(out), "x", 4)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMissingIsInstalledByOneCommand(t *testing.T) {
	got := installation([]string{"runc", "nftables"})
	if !strings.HasSuffix(got, "\n  sudo apt-get install --no-install-recommends -y runc nftables") {
		t.Errorf("got %q", got)
	}
}

func TestThePluginsAreTakenFromAFolderThatHasBoth(t *testing.T) {
	has := map[string]bool{"/usr/lib/cni/ptp": true, "/opt/cni/bin/ptp": true, "/opt/cni/bin/host-local": true}
	if dir, ok := pluginDir(func(path string) bool { return has[path] }); !ok || dir != "/opt/cni/bin" {
		t.Errorf("got %q, %t", dir, ok)
	}
	if dir, ok := pluginDir(func(string) bool { return false }); ok {
		t.Errorf("found %q where there is nothing", dir)
	}
}

func TestAForwardIsUnderstood(t *testing.T) {
	for text, want := range map[string]forwarding{
		"8080:client/http-admin": {8080, "client", "http-admin"},
		"1:rng/8081":             {1, "rng", "8081"},
	} {
		got, err := parseForwarding(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for text, part := range map[string]string{
		"8080":              "no colon",
		"8080:client":       "no SERVICE/PORT",
		"8080:/http":        "no SERVICE/PORT",
		"0:client/80":       "LOCAL",
		"65536:client/80":   "LOCAL",
		"-1:client/80":      "LOCAL",
		"80:client.prod/80": "--namespace",
		"80:client/80/tcp":  "are names",
	} {
		if _, err := parseForwarding(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %v, want an error with %q", text, err, part)
		}
	}
}

func FuzzForward(f *testing.F) {
	f.Add("8080:client/http-admin")
	f.Add("0:a/b")
	f.Add("::///")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseForwarding(text)
		if err == nil && (got.local < 1 || got.local > 65535 || got.service == "" || got.port == "") {
			t.Errorf("%q gives %+v", text, got)
		}
	})
}

func TestImagesHaveTheNamesThatTheManifestsUse(t *testing.T) {
	got, err := imageNames([]byte(`
images:
- name: ghcr.io/evenkeel/rng
  newTag: &version v0.1.0
- name: geoip
  newName: registry.example/geoip
  newTag: *version
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"rng": "ghcr.io/evenkeel/rng:v0.1.0", "geoip": "registry.example/geoip:v0.1.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, part := range map[string]string{
		"images: [{name: a/rng}]": "a/rng has no newTag",
		"resources: []":           "none",
		"images: 3":               "Images",
	} {
		if _, err := imageNames([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %v, want an error with %q", text, err, part)
		}
	}
}

func FuzzImageNames(f *testing.F) {
	f.Add([]byte("images: [{name: a/rng, newTag: v1}]"))
	f.Add([]byte("images: [{name: a/rng}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		names, err := imageNames(text)
		if err == nil && len(names) == 0 {
			t.Error("no images and no error")
		}
	})
}

func TestOnlyKnownProgramsAreLoaded(t *testing.T) {
	refs, jaeger := map[string]string{"rng": "a", "client": "b"}, map[string]string{"jaeger": "c"}
	if got, err := choose(refs, jaeger, nil); err != nil || !cmp.Equal(got, []string{"client", "rng"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := choose(refs, jaeger, []string{"rng", "jaeger"}); err != nil || !cmp.Equal(got, []string{"rng", "jaeger"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := choose(refs, jaeger, []string{"dice"}); err == nil || err.Error() != `program "dice": not one of client, rng, jaeger` {
		t.Errorf("got %v", err)
	}
}

func TestTheStartOfAProcessIsFoundBehindAnyName(t *testing.T) {
	const rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for _, name := range []string{"(cluster)", "(a b)", "(a) S 1 2)", "()"} {
		if got, err := startTicks("42 " + name + " " + rest); err != nil || got != "4711" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := startTicks("42 (short) S 1"); err == nil {
		t.Error("a line that is too short was understood")
	}
}

func FuzzStartTicks(f *testing.F) {
	f.Add("42 (a b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20")
	f.Add(") ")
	f.Fuzz(func(t *testing.T, stat string) {
		if ticks, err := startTicks(stat); err == nil && ticks == "" {
			t.Errorf("%q: nothing, and no error", stat)
		}
	})
}

func TestTheNumberInsideIsTheLast(t *testing.T) {
	if got, ok := innerPID("Name:\tx\nNSpid:\t4321\t17\nNSpgid:\t1\t2\n"); !ok || got != 17 {
		t.Errorf("got %d, %t", got, ok)
	}
	if _, ok := innerPID("Name:\tx\nNSpid:\n"); ok {
		t.Error("found a number where there is none")
	}
}

func TestAProcessThatIsAnotherByNowIsNotAlive(t *testing.T) {
	started, err := startOf(1)
	if err != nil {
		t.Fatal(err)
	}
	if m := (member{Name: "it", PID: 1, Started: started}); !m.alive() {
		t.Error("process 1 is not alive")
	}
	if m := (member{Name: "one before it", PID: 1, Started: started + "0"}); m.alive() {
		t.Error("a process with the number of an earlier one was taken for it")
	}
}

func TestTheAddonsManifestIsYAMLThroughout(t *testing.T) {
	for nodes, replicas := range map[int]float64{1: 1, 2: 2, 5: 2} {
		manifest, err := addonsManifest("evenkeel.test/coredns:v1", "iptables", nodes)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(manifest)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var object struct {
				Kind string
				Spec struct{ Replicas float64 }
			}
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			if object.Kind == "" {
				t.Errorf("without a kind: %s", document)
			}
			if object.Kind == "Deployment" {
				found = object.Spec.Replicas == replicas
			}
		}
		if !found {
			t.Errorf("%d nodes: no Deployment of %v replicas", nodes, replicas)
		}
	}
}
