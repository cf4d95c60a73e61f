//go:build images

package images_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// These tests run `make images` twice, as a user would: into a registry, and into archives.
// The registry is crane's and on 127.0.0.1; so is the base image, which is made here,
// because nothing else is needed to see what `make images` puts on top of one.

var architectures = []string{"amd64", "arm64"}

// run runs a command in the root of the repository and returns what it printed.
func run(t *testing.T, environment []string, name string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir = root
	command.Env = append(os.Environ(), environment...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, out, complaints.Bytes())
	}
	return string(out)
}

// registry starts one for the length of the test, and returns its address.
func registry(t *testing.T) string {
	t.Helper()
	command := exec.Command("crane", "registry", "serve", "--address", "127.0.0.1:0")
	log, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%v: run this test with make test-images, which installs crane", err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-drained
		_ = command.Wait()
	})
	port := make(chan string, 1)
	go func() {
		defer close(drained)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if _, after, found := strings.Cut(lines.Text(), "serving on port "); found {
				port <- after
			}
		}
	}()
	select {
	case p := <-port:
		return "127.0.0.1:" + p
	case <-drained:
	case <-time.After(30 * time.Second):
	}
	t.Fatal("crane registry serve: does not say that it serves")
	return ""
}

// base puts an image for each architecture into a registry that has nothing in it but a user, and
// returns the name of both together.
func base(t *testing.T, registry string) string {
	t.Helper()
	layer := filepath.Join(t.TempDir(), "base.tar")
	file, err := os.Create(layer)
	if err != nil {
		t.Fatal(err)
	}
	const passwd = "nonroot:x:65532:65532::/:/sbin/nologin\n"
	archive := tar.NewWriter(file)
	err = archive.WriteHeader(&tar.Header{Name: "etc/passwd", Mode: 0o444, Size: int64(len(passwd)), ModTime: time.Unix(0, 0)})
	_, write := io.WriteString(archive, passwd)
	if err := errors.Join(err, write, archive.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	name := registry + "/base"
	index := []string{"index", "append", "-t", name}
	for _, architecture := range architectures {
		tag := name + ":" + architecture
		run(t, nil, "crane", "append", "--oci-empty-base", "-f", layer, "-t", tag)
		run(t, nil, "crane", "mutate", "--set-platform", "linux/"+architecture, "-t", tag, tag)
		index = append(index, "-m", tag)
	}
	run(t, nil, "crane", index...)
	return name
}

// descriptor, manifest and configuration are the parts of an OCI image that are looked at.
type descriptor struct {
	Digest   string
	Size     int64
	Platform struct{ OS, Architecture string }
}

type manifest struct {
	Manifests []descriptor // of an index
	Config    descriptor   // of an image
	Layers    []descriptor
}

type configuration struct {
	Created      time.Time
	OS           string
	Architecture string
	Config       struct {
		User       string
		Entrypoint []string
		Labels     map[string]string
	}
}

// get reads a manifest or a blob of a registry.
func get(t *testing.T, registry, path string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+registry+"/v2/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, response.Status, err)
	}
	return body
}

func decode[T any](t *testing.T, text []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// image is one that was built, for one architecture.
type image struct {
	manifest   manifest
	config     configuration
	files      map[string][]byte // of all layers, by path
	compressed int64             // bytes, all layers
}

// programMB is how large the program is, in MB.
func (i image) programMB(program string) float64 {
	return float64(len(i.files["ko-app/"+program])) / 1e6
}

// pull reads the images of a program from a registry, by architecture.
func pull(t *testing.T, registry, program, tag string) map[string]image {
	t.Helper()
	repository := "evenkeel/" + program
	images := make(map[string]image)
	for _, d := range decode[manifest](t, get(t, registry, repository+"/manifests/"+tag)).Manifests {
		m := decode[manifest](t, get(t, registry, repository+"/manifests/"+d.Digest))
		i := image{manifest: m, files: make(map[string][]byte)}
		i.config = decode[configuration](t, get(t, registry, repository+"/blobs/"+m.Config.Digest))
		for _, layer := range m.Layers {
			i.compressed += layer.Size
			unpack(t, get(t, registry, repository+"/blobs/"+layer.Digest), i.files)
		}
		if i.config.OS != "linux" || d.Platform.OS != "linux" || d.Platform.Architecture != i.config.Architecture {
			t.Errorf("%s: an image for %s/%s is listed as one for %s/%s", program,
				i.config.OS, i.config.Architecture, d.Platform.OS, d.Platform.Architecture)
		}
		images[i.config.Architecture] = i
	}
	return images
}

func unpack(t *testing.T, layer []byte, files map[string][]byte) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.ModTime.Unix() > 0 {
			t.Errorf("%s: has the time %s, so a second build is another image", header.Name, header.ModTime)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "/")] = content
	}
}

// checkBinary says what is wrong with a program that must run without anything beside it.
func checkBinary(binary []byte, program, architecture, version string) error {
	parsed, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	var wrong []error
	if slices.ContainsFunc(parsed.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		wrong = append(wrong, errors.New("it is not static"))
	}
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]
	if parsed.Machine != want {
		wrong = append(wrong, fmt.Errorf("it is for %s", parsed.Machine))
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	if want := "github.com/evenkeel/evenkeel/services/" + program; info.Path != want {
		wrong = append(wrong, fmt.Errorf("it is %s", info.Path))
	}
	if info.Main.Version != version {
		wrong = append(wrong, fmt.Errorf("its version is %s, and %s in what make builds", info.Main.Version, version))
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
		wrong = append(wrong, fmt.Errorf("it was built with %v", info.Settings))
	}
	return errors.Join(wrong...)
}

// built makes a program as the BINARIES of the Makefile are made, for this machine.
func built(t *testing.T, program string) (path, version string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), program)
	run(t, nil, "go", "build", "-o", path, "./services/"+program)
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Main.Version
}

func TestMakeImages(t *testing.T) {
	at := registry(t)
	environment := []string{"KO_DEFAULTBASEIMAGE=" + base(t, at), "SOURCE_DATE_EPOCH="}
	run(t, environment, "make", "images", "REGISTRY="+at+"/evenkeel")
	run(t, environment, "make", "images", "REGISTRY=")

	var sizes strings.Builder
	sizes.WriteString("| image | program, amd64 / arm64 | compressed |\n| --- | --- | --- |\n")
	pods := imagesOfPods(t)
	for _, program := range slices.Sorted(maps.Keys(pods)) {
		name := pods[program]
		tag := name[strings.LastIndex(name, ":")+1:]
		run(t, nil, "crane", "validate", "--remote", at+"/evenkeel/"+program+":"+tag)
		images := pull(t, at, program, tag)
		if len(images) != len(architectures) {
			t.Errorf("%s: got %d images, want one each for %v", program, len(images), architectures)
		}
		amd64, arm64 := images["amd64"], images["arm64"]
		fmt.Fprintf(&sizes, "| %s | %.1f / %.1f MB | %.1f / %.1f MB |\n", program,
			amd64.programMB(program), arm64.programMB(program), float64(amd64.compressed)/1e6, float64(arm64.compressed)/1e6)
		reference, version := built(t, program)
		for _, architecture := range architectures {
			t.Run(program+"/"+architecture, func(t *testing.T) {
				testImage(t, images[architecture], program, architecture, version)
				testArchive(t, images[architecture], name, architecture)
			})
		}
		t.Run(program+"/runs", func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), program)
			if err := os.WriteFile(binary, images[runtime.GOARCH].files["ko-app/"+program], 0o700); err != nil {
				t.Fatal(err)
			}
			got, want := run(t, nil, binary, "--version"), run(t, nil, reference, "--version")
			if got != want {
				t.Errorf("--version: %q, and %q of what make builds", got, want)
			}
			t.Logf("--version: %s", got)
		})
	}
	t.Logf("sizes:\n%s", sizes.String())
	if err := os.WriteFile(filepath.Join(root, "out", "images", "sizes.md"), []byte(sizes.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testImage looks into an image that was pushed.
func testImage(t *testing.T, i image, program, architecture, version string) {
	t.Helper()
	if i.config.Config.User != "65532:65532" {
		t.Errorf("its user is %q", i.config.Config.User)
	}
	if diff := cmp.Diff([]string{"/ko-app/" + program}, i.config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-want +got):\n%s", diff)
	}
	if i.config.Created.Unix() > 0 {
		t.Errorf("created at %s: a second build is another image", i.config.Created)
	}
	if i.config.Config.Labels["org.opencontainers.image.source"] == "" {
		t.Errorf("the labels %v do not say where it comes from", i.config.Config.Labels)
	}
	var names []string
	for name := range i.files {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"etc/passwd", "ko-app/" + program}, names); diff != "" {
		t.Errorf("files (-those of the base and the program, +got):\n%s", diff)
	}
	binary := i.files["ko-app/"+program]
	if err := checkBinary(binary, program, architecture, version); err != nil {
		t.Errorf("ko-app/%s: %v", program, err)
	}
}

// testArchive compares the image of that name in the archive of an architecture with one that was
// pushed by another run of ko. The digest of its configuration covers all that is in it.
func testArchive(t *testing.T, pushed image, name, architecture string) {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "out/images/linux-"+architecture+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err != nil {
			t.Fatalf("%s: no manifest.json: %v", file.Name(), err)
		}
		if header.Name == "manifest.json" {
			break
		}
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Config   string
		RepoTags []string
	}
	for _, e := range decode[[]entry](t, text) {
		if slices.Contains(e.RepoTags, name) {
			if e.Config != pushed.manifest.Config.Digest {
				t.Errorf("%s: %s in the archive, %s in the registry", name, e.Config, pushed.manifest.Config.Digest)
			}
			return
		}
	}
	t.Errorf("%s: no image %s in %s", file.Name(), name, text)
}
