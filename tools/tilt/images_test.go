package tilt_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryImageOfOursIsBuiltAndEachThatIsBuiltIsUsed(t *testing.T) {
	tl := up(t)
	built := by(tl.calls["docker_build"], "ref")
	used := map[string]bool{}
	for _, name := range services {
		image, _, _ := strings.Cut(str(container(t, tl.workloads()[name])["image"]), ":")
		if built[image] == nil {
			t.Errorf("%s runs %s, which is not among the images that are built: %q", name, image, slices.Sorted(maps.Keys(built)))
		}
		used[image] = true
	}
	for ref, build := range built {
		if from := regexp.MustCompile(`^FROM (\S+)`).FindStringSubmatch(str(build["dockerfile_contents"])); from != nil {
			used[from[1]] = true
		} else if file := str(build["dockerfile"]); !strings.Contains(read(t, file), "FROM ") {
			t.Errorf("%s: %s is no Dockerfile", ref, file)
		}
		for _, only := range list(build["only"]) {
			if read(t, path.Join(str(build["context"]), only)) == "" {
				t.Errorf("%s: %s is empty", ref, only)
			}
		}
		if build["platform"] != "linux/riscv64" {
			t.Errorf("%s is for %v", ref, build["platform"])
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(built)), slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("images (-built +used):\n%s", diff)
	}
}

// The chain from the compiler to the process: each link names the file of the one before.
func TestAnUpdateReachesTheProcess(t *testing.T) {
	tl := up(t)
	base := read(t, "tools/tilt/Dockerfile")
	entrypoint := regexp.MustCompile(`(?m)^ENTRYPOINT \["(\S+)", "(\S+)", "(\S+)"\]$`).FindStringSubmatch(base)
	if entrypoint == nil {
		t.Fatalf("tools/tilt/Dockerfile has no ENTRYPOINT of three words:\n%s", base)
	}
	restart, live, image := entrypoint[1], entrypoint[2], entrypoint[3]
	if !strings.Contains(base, "\nCOPY restart "+restart+"\n") {
		t.Errorf("nothing is copied to %s:\n%s", restart, base)
	}
	if info, err := os.Stat("restart"); err != nil || info.Mode()&0o111 != 0o111 {
		t.Errorf("restart cannot be executed: %v, %v", info, err)
	}
	for _, name := range services {
		pod := at(tl.workloads()[name], "spec", "template", "spec")
		c := container(t, tl.workloads()[name])
		ref, _, _ := strings.Cut(str(c["image"]), ":")
		build := by(tl.calls["docker_build"], "ref")[ref]
		compile := list(by(tl.calls["local_resource"], "name")["compile-"+name]["cmd"])
		output := compile[slices.Index(compile, "-o")+1]

		if want := "FROM evenkeel-live\nCOPY " + path.Base(output) + " " + image + "\n"; str(build["dockerfile_contents"]) != want || build["context"] != path.Dir(output) {
			t.Errorf("%s is compiled to %s, and its image is made in %v with\n%s", name, output, build["context"], build["dockerfile_contents"])
		}
		steps, _ := build["live_update"].([]any)
		want := []any{opaque{"sync", call{"local_path": output, "remote_path": live}}, opaque{"run", call{"cmd": []any{"kill", "-HUP", "1"}}}}
		if diff := cmp.Diff(want, steps, cmp.AllowUnexported(opaque{})); diff != "" {
			t.Errorf("%s: live_update (-want +got):\n%s", name, diff)
		}
		if c["command"] != nil {
			t.Errorf("%s: the manifest's command %v takes the place of %s", name, c["command"], restart)
		}
		if user := fmt.Sprint(at(pod, "securityContext", "runAsUser")); !strings.Contains(base, "\nUSER "+user+":"+user+"\n") {
			t.Errorf("%s runs as %s, the image does not:\n%s", name, user, base)
		}
		if resource := by(tl.calls["k8s_resource"], "workload")[name]; !slices.Contains(list(resource["resource_deps"]), "compile-"+name) {
			t.Errorf("%s does not wait until it is compiled: %v", name, resource)
		}
	}
}

func TestItIsCompiledForTheNodes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{{nil, "riscv64"}, {[]string{"--arch=s390x"}, "s390x"}} {
		tl := up(t, test.args...)
		for _, name := range services {
			want := map[string]any{"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": test.want}
			if diff := cmp.Diff(want, by(tl.calls["local_resource"], "name")["compile-"+name]["env"]); diff != "" {
				t.Errorf("%s %v (-want +got):\n%s", name, test.args, diff)
			}
		}
	}
}

func TestACompilationWatchesAllThatItIsMadeOf(t *testing.T) {
	tl := up(t)
	for _, name := range services {
		compile := by(tl.calls["local_resource"], "name")["compile-"+name]
		if got, want := words(compile["cmd"]), "go build -buildvcs=false -o .cache/tilt/bin/"+name+"/app ./services/"+name; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", "./services/"+name)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages := strings.Fields(string(out))
		for _, dep := range list(compile["deps"]) {
			if _, err := os.Stat(filepath.Join(root, dep)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			within := func(pkg string) bool { return strings.HasPrefix(pkg+"/", filepath.Join(root, dep)+"/") }
			if left := slices.DeleteFunc(slices.Clone(packages), within); len(left) == len(packages) && !strings.HasPrefix(dep, "go.") {
				t.Errorf("%s is not made of %s", name, dep)
			} else {
				packages = left
			}
		}
		if len(packages) > 0 {
			t.Errorf("%s is not compiled again after a change of %q", name, packages)
		}
	}
}
