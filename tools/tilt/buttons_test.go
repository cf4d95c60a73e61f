package tilt_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/render"
)

// recorder is a program that writes down how it was called, and answers as kubectl would.
const recorder = `#!/bin/sh
{ printf '%s' "${0##*/}"; for word; do printf '\t%s' "$word"; done; echo; } >> "$CALLS"
case "$*" in
*"get pods"*"-o name") printf 'pod/rng-1\npod/rng-2\n' ;;
*"get pods"*"jsonpath={.items[0].spec.nodeName}") printf 'node-1' ;;
esac
`

// press runs a button's command as Tilt does, with other programs in the place of kubectl, go and the lab. It returns
// how they were called, and what the command said by itself.
func press(t *testing.T, button call) (calls [][]string, said string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kubectl", "go", "bin/lab"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(recorder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", str(button["cmd"]))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CALLS="+filepath.Join(dir, "calls"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", button["cmd"], err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		calls = append(calls, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}

	return calls, string(out)
}

// buttons are the local resources that wait for somebody to press them.
func (tl *tilt) buttons() map[string]call {
	return by(slices.DeleteFunc(slices.Clone(tl.calls["local_resource"]), func(c call) bool { return c["auto_init"] != false }), "name")
}

func TestEachButtonIsAStepOfTheLab(t *testing.T) {
	const (
		cluster   = "kubectl --context kind-it's mine"
		namespace = cluster + " --namespace dns-srv-retries-live"
		pods      = namespace + " get pods --selector=app.kubernetes.io/name=rng -o "
	)
	want := map[string][]string{
		"scale-up":       {namespace + " scale deployment/rng --replicas=6"},
		"scale-down":     {namespace + " scale deployment/rng --replicas=2"},
		"rolling-update": {namespace + " rollout restart deployment/rng"},
		"delete-pod":     {pods + "name", namespace + " delete --wait=false pod/rng-1"},
		"drain-node": {
			pods + "jsonpath={.items[0].spec.nodeName}",
			cluster + " drain --pod-selector=app.kubernetes.io/name=rng --delete-emptydir-data --timeout=60s node-1",
		},
		"uncordon-nodes": {cluster + " uncordon --selector=kubernetes.io/os=linux"},
		"lab-run": {
			"go build -o bin/ ./tools/lab",
			"lab run --env=kubernetes --context=kind-it's mine --out=out/tilt dns-srv+retries",
		},
		"debug-shell": {"In a terminal: make debug-shell NAMESPACE=dns-srv-retries-live. Its image must be in the cluster: tools/debug/README.md\n"},
	}
	tl := prepare(t, "--overlay=dns-srv", "--with=retries")
	tl.context = "kind-it's mine" // quoted, if anything is
	if err := tl.execute(); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for name, button := range tl.buttons() {
		if button["trigger_mode"] != "manual" {
			t.Errorf("%s does not wait to be pressed: %v", name, button)
		}
		calls, said := press(t, button)
		if said != "" {
			got[name] = []string{said}
		}
		for _, called := range calls {
			got[name] = append(got[name], strings.Join(called, " "))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestTheStepsAreDoneToWhatIsThere(t *testing.T) {
	rng := up(t).workloads()["rng"]
	if rng["kind"] != "Deployment" || at(rng, "spec", "template", "metadata", "labels", "app.kubernetes.io/name") != "rng" {
		t.Errorf("deployment/rng, with pods of the label app.kubernetes.io/name=rng, is what buttons name: %v", rng)
	}
}

// The lab takes the button's arguments: with a cluster that is not there, it is the cluster that it complains of.
func TestTheLabTakesWhatTheButtonGivesIt(t *testing.T) {
	lab := filepath.Join(t.TempDir(), "lab")
	build := exec.Command("go", "build", "-o", lab, "./tools/lab")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tl := up(t, "--with=retries,keepalive")
	calls, _ := press(t, tl.buttons()["lab-run"])
	args := calls[len(calls)-1][1:]
	run := exec.Command(lab, args...)
	run.Dir = root
	run.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	out, err := run.CombinedOutput()
	if status := run.ProcessState.ExitCode(); status != 1 || !strings.Contains(string(out), tl.context) {
		t.Errorf("lab %q: status %d, %v:\n%s", args, status, err, out)
	}
	overlay, err := render.Load(filepath.Join(root, "kustomize/overlays"), args[len(args)-1])
	if err != nil {
		t.Fatal(err)
	}
	if used := fmt.Sprint(at(tl.workloads()["rng"], "metadata", "namespace")); used == overlay.Namespace {
		t.Errorf("the lab refuses a namespace that is there, and Tilt's is %s too", used)
	}
}

func TestAMisspeltArgumentIsRefused(t *testing.T) {
	for source, want := range map[string]string{
		`docker_build("a", ".", liveupdate = [])`:     `unexpected keyword argument "liveupdate"`,
		`k8s_resource("a", port_forward = [])`:        `unexpected keyword argument "port_forward"`,
		`k8s_resource("a", port_forwards = ["8080"])`: "port_forwards: got list, want forwards",
		`local_resource("a", "true", deps = 1)`:       "deps: got int, want strs",
		`local_resource("a")`:                         "missing argument for cmd",
		`kustomise("a")`:                              "undefined: kustomise",
		`read_file("Tiltfile", default = "").split()`: "has no .split",
	} {
		if err := prepare(t).run(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
}
