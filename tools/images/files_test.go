// Package images_test holds the ways to make an image to one another, and to the
// manifests: ko and the Dockerfile build the same programs, under the names and for
// the user that the pods have. With the tag `images`, which `make test-images` sets,
// it builds the images and looks into them.
//
// What needs Docker is only read here: the Dockerfile, the cluster of kind and the
// workflow name what exists, and no more can be said of them without running them.
package images_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// group returns what the first group of a pattern matches in a file, once or more.
func group(t *testing.T, path, pattern string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, path), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s: nothing matches %s", path, pattern)
	}
	return found
}

// deployments are the three that every overlay has, by name.
func deployments(t *testing.T) map[string]appsv1.Deployment {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(root, "kustomize/base"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]appsv1.Deployment)
	for _, resource := range resources.Resources() {
		if resource.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, &d); err != nil {
			t.Fatal(err)
		}
		found[d.Name] = d
	}
	return found
}

// imagesOfPods are the images that the manifests name, by the name of their Deployment.
func imagesOfPods(t *testing.T) map[string]string {
	t.Helper()
	images := make(map[string]string)
	for name, d := range deployments(t) {
		images[name] = d.Spec.Template.Spec.Containers[0].Image
	}
	return images
}

// instruction is one of a Dockerfile, its continued lines put together.
type instruction struct{ name, arguments string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var found []instruction
	var whole strings.Builder
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		before, continued := strings.CutSuffix(line, `\`)
		whole.WriteString(before)
		if continued {
			continue
		}
		name, arguments, _ := strings.Cut(whole.String(), " ")
		found = append(found, instruction{name, strings.TrimSpace(arguments)})
		whole.Reset()
	}
	return found
}

// only returns the arguments of the one instruction of a name.
func only(t *testing.T, name string) string {
	t.Helper()
	var found []string
	for _, i := range dockerfile(t) {
		if i.name == name {
			found = append(found, i.arguments)
		}
	}
	if len(found) != 1 {
		t.Fatalf("Dockerfile: got the %s instructions %q, want one", name, found)
	}
	return found[0]
}

func TestMakeBuildsTheImagesThatThePodsRun(t *testing.T) {
	built := strings.Fields(group(t, "Makefile", `(?m)^IMAGES := (.*)$`)[0])
	want := make([]string, 0, len(built))
	for name, image := range imagesOfPods(t) {
		if !strings.HasPrefix(image, "ghcr.io/evenkeel/"+name+":") {
			t.Errorf("Deployment %s: image %s, which no name of a folder leads to", name, image)
		}
		want = append(want, "./services/"+name)
	}
	slices.Sort(built)
	slices.Sort(want)
	if diff := cmp.Diff(want, built); diff != "" {
		t.Errorf("IMAGES of the Makefile (-the manifests', +got):\n%s", diff)
	}
}

func TestTheDockerfileBuildsEachProgramThatThePodsRun(t *testing.T) {
	run := only(t, "RUN")
	match := regexp.MustCompile(`"\./services/\$\{SERVICE:\?[^}]* must be ([^}]*)\}"$`).FindStringSubmatch(run)
	if match == nil {
		t.Fatalf("RUN %s: does not end in a folder of services", run)
	}
	offered := regexp.MustCompile(`\w+`).FindAllString(strings.Replace(match[1], " or ", " ", 1), -1)
	slices.Sort(offered)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(imagesOfPods(t))), offered); diff != "" {
		t.Errorf("values of SERVICE (-the manifests', +got):\n%s", diff)
	}
	for _, name := range offered {
		if !strings.Contains(read(t, "services/"+name+"/main.go"), "package main") {
			t.Errorf("services/%s is not a command", name)
		}
	}
}

func TestTheDockerfileHasTheGoOfTheModule(t *testing.T) {
	module := group(t, "go.mod", `(?m)^go (\d+\.\d+)`)[0]
	stages := group(t, "Dockerfile", `(?m)^FROM (.*)$`)
	if want := "--platform=$BUILDPLATFORM golang:" + module + " AS build"; stages[0] != want {
		t.Errorf("FROM %s, want %s", stages[0], want)
	}
}

func TestTheDockerfileAndKoBuildInTheSameWay(t *testing.T) {
	var ko struct {
		DefaultPlatforms, DefaultEnv, DefaultLdflags []string
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, ".ko.yaml")), &ko); err != nil {
		t.Fatal(err)
	}
	run := only(t, "RUN")
	// -trimpath is what ko adds by itself.
	want := []string{`-ldflags="` + strings.Join(ko.DefaultLdflags, " ") + `"`, "-trimpath"}
	for _, setting := range append(want, ko.DefaultEnv...) {
		if !strings.Contains(run, setting+" ") {
			t.Errorf("RUN %s: no %s", run, setting)
		}
	}
	platforms := group(t, "Makefile", `(?m)^IMAGE_PLATFORMS \?= (.*)$`)[0]
	if got := strings.Join(ko.DefaultPlatforms, ","); got != platforms {
		t.Errorf(".ko.yaml has the platforms %s, the Makefile %s", got, platforms)
	}
}

func TestTheImagesAreOfTheUserOfThePods(t *testing.T) {
	users := map[string]string{
		"Dockerfile": only(t, "USER"),
		"Makefile":   group(t, "Makefile", `--image-user (\S+)`)[0],
	}
	for name, d := range deployments(t) {
		pod := d.Spec.Template.Spec.SecurityContext
		for where, user := range users {
			if want := strconv.FormatInt(*pod.RunAsUser, 10) + ":" + strconv.FormatInt(*pod.RunAsGroup, 10); user != want {
				t.Errorf("%s: user %s, and %s in the Deployment %s", where, user, want, name)
			}
		}
	}
}

// A tracked file that Docker is not given makes git call the tree changed.
func TestDockerIsGivenAllThatGitTracks(t *testing.T) {
	ignored := patterns(t, ".gitignore")
	for pattern := range patterns(t, ".dockerignore") {
		if !ignored[pattern] {
			t.Errorf(".dockerignore: %s is not in .gitignore", pattern)
		}
	}
}

// patterns returns what a file ignores. Git looks for a name in every folder, Docker
// in the first one only, unless it is told otherwise.
func patterns(t *testing.T, path string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for line := range strings.Lines(read(t, path)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		found[strings.TrimPrefix(strings.Trim(line, "/"), "**/")] = true
	}
	return found
}

func TestTheClusterOfKindHasSeveralNodesInZones(t *testing.T) {
	// The fields of kind's v1alpha4 that are used; any other is an error.
	var cluster struct {
		Kind, APIVersion, Name string
		Nodes                  []struct {
			Role   string
			Labels map[string]string
		}
	}
	text := read(t, "deploy/kind/cluster.yaml")
	if err := yaml.UnmarshalStrict([]byte(text), &cluster); err != nil {
		t.Fatal(err)
	}
	if cluster.Kind != "Cluster" || cluster.APIVersion != "kind.x-k8s.io/v1alpha4" {
		t.Errorf("got a %s %s", cluster.APIVersion, cluster.Kind)
	}
	zones := make(map[string]bool)
	workers := 0
	for _, node := range cluster.Nodes {
		if node.Role == "worker" {
			workers++
			zones[node.Labels["topology.kubernetes.io/zone"]] = true
		}
	}
	if workers < 2 || len(zones) != workers || zones[""] {
		t.Errorf("%d workers in the zones %v, want two or more, each in one of its own", workers, zones)
	}
	for _, name := range group(t, "Makefile", `--name (\S+)`) {
		if name != cluster.Name {
			t.Errorf("the Makefile has the cluster %s, deploy/kind %s", name, cluster.Name)
		}
	}
}

// What a workflow runs must exist, and what it uses of others must not change
// under it.
func TestTheWorkflowsRunWhatExists(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github/workflows/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("workflows: %v, %v", files, err)
	}
	makefile := read(t, "Makefile")
	for _, file := range files {
		path, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range group(t, path, `run: make (\S+)`) {
			if !strings.Contains(makefile, "\n.PHONY: "+target+"\n") {
				t.Errorf("%s: the Makefile has no target %s", path, target)
			}
		}
		for _, action := range group(t, path, `uses: (.*)`) {
			if !regexp.MustCompile(`@[0-9a-f]{40} # v[0-9.]+$`).MatchString(action) {
				t.Errorf("%s: %s is not pinned to a commit, with its version behind it", path, action)
			}
		}
		if !strings.Contains(read(t, path), " .ci/run\n") {
			t.Errorf("%s does not run .ci/run", path)
		}
	}
	if info, err := os.Stat(filepath.Join(root, ".ci/run")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run cannot be run: %v", err)
	}
}
