//go:build linux && cluster

package main

// The tests of a real cluster. They need root and what `cluster up` needs, and take the
// time of a cold build the first time:
//
//	go test -tags cluster -timeout 40m .

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

// tool is the cluster command, with a folder of its own.
type tool struct {
	t      *testing.T
	binary string
	c      *cluster
}

// newTool builds the command and what it starts. Its folder is kept, so that only the first
// test ever pays for the build.
func newTool(t *testing.T) *tool {
	t.Helper()
	if err := preflight("nftables"); err != nil {
		t.Fatal(err)
	}
	home := os.Getenv("EVENKEEL_CLUSTER_TEST_HOME")
	if home == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		home = filepath.Join(cache, "evenkeel-cluster-test")
	}
	c, err := newCluster(home, "")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "cluster")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	k := &tool{t: t, binary: binary, c: c}
	k.must("down")
	k.must("build")
	t.Cleanup(func() {
		if out, err := k.run("down"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})

	return k
}

func (k *tool) command(args ...string) *exec.Cmd {
	command := exec.Command(k.binary, append([]string{"--home", k.c.home}, args...)...)
	command.WaitDelay = time.Second

	return command
}

func (k *tool) run(args ...string) (string, error) {
	out, err := k.command(args...).CombinedOutput()

	return string(out), err
}

func (k *tool) must(args ...string) string {
	k.t.Helper()
	began := time.Now()
	out, err := k.run(args...)
	if err != nil {
		k.t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	k.t.Logf("cluster %s: %.1f s", strings.Join(args, " "), time.Since(began).Seconds())
	if args[0] == "up" {
		k.t.Log(out)
	}

	return out
}

// machine is what of the machine a cluster could leave something in.
type machine struct {
	Mounts, Namespaces, Cgroups, Links, Processes, Files []string
}

// look is what is there now. Namespaces are known by the processes in them.
func (k *tool) look() machine {
	k.t.Helper()
	var m machine
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		k.t.Fatal(err)
	}
	m.Mounts = strings.Split(string(mounts), "\n")
	for _, kind := range []string{"net", "pid", "mnt", "uts", "ipc"} {
		links, err := filepath.Glob("/proc/[0-9]*/ns/" + kind)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil && !slices.Contains(m.Namespaces, name) {
				m.Namespaces = append(m.Namespaces, name)
			}
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, process := range processes {
		line, _ := os.ReadFile(process + "/cmdline")
		program, _ := os.Readlink(process + "/exe")
		for _, part := range []string{k.c.home, k.binary, "/run/cluster"} {
			if strings.Contains(string(line)+" "+program, part) {
				m.Processes = append(m.Processes, strings.ReplaceAll(string(line), "\x00", " "))

				break
			}
		}
	}
	m.Cgroups = below(k.t, cgroupRoot, 100, true)
	for _, folder := range []string{"/run", "/var/lib", "/var/log", "/var/lib/cni", "/opt", "/etc", "/usr/libexec"} {
		m.Files = append(m.Files, below(k.t, folder, 1, false)...)
	}
	m.Files = append(m.Files, below(k.t, k.c.home, 1, false)...)
	links, err := net.Interfaces()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, link := range links {
		m.Links = append(m.Links, link.Name)
	}
	for _, list := range []*[]string{&m.Mounts, &m.Namespaces, &m.Cgroups, &m.Links, &m.Processes, &m.Files} {
		slices.Sort(*list)
	}

	return m
}

// below are the files, or only the folders, in a folder, so many levels deep.
func below(t *testing.T, root string, depth int, foldersOnly bool) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is not there, or no more
		}
		if entry.IsDir() || !foldersOnly {
			out = append(out, path)
		}
		level := strings.Count(strings.TrimPrefix(path, root), "/")
		if entry.IsDir() && level >= depth {
			return fs.SkipDir
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return out
}

// unchanged waits until nothing is there that was not there before: the kernel takes a moment
// to clean up. What others have taken away meanwhile is their business.
func (k *tool) unchanged(before machine) {
	k.t.Helper()
	var more string
	if !eventually(10*time.Second, func() bool {
		after := k.look()
		more = cmp.Diff(machine{}, machine{
			Mounts:     without(after.Mounts, before.Mounts),
			Namespaces: without(after.Namespaces, before.Namespaces),
			Cgroups:    without(after.Cgroups, before.Cgroups),
			Links:      without(after.Links, before.Links),
			Processes:  without(after.Processes, before.Processes),
			Files:      without(after.Files, before.Files),
		})

		return more == ""
	}) {
		k.t.Errorf("left behind:\n%s", more)
	}
}

// without is what is in all and not in some.
func without(all, some []string) []string {
	var out []string
	for _, one := range all {
		if !slices.Contains(some, one) {
			out = append(out, one)
		}
	}

	return out
}

func eventually(patience time.Duration, condition func() bool) bool {
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-deadline:
			return false
		case <-ticker.C:
		}
	}

	return true
}

// pid is the machine's number of the process of a component.
func (k *tool) pid(sandbox, component string) int {
	k.t.Helper()
	for line := range strings.Lines(k.must("status")) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == sandbox && fields[1] == component {
			pid, err := strconv.Atoi(fields[2])
			if err != nil {
				k.t.Fatal(line)
			}

			return pid
		}
	}
	k.t.Fatalf("no %s in %s", component, sandbox)

	return 0
}

func (k *tool) kill(pid int) {
	k.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		k.t.Fatal(err)
	}
}

func TestDownLeavesTheMachineAsUpFoundIt(t *testing.T) {
	for _, mode := range []string{"nftables", "iptables"} {
		t.Run(mode, func(t *testing.T) {
			k := newTool(t)
			before := k.look()
			k.must("up", "--proxy-mode", mode)
			k.must("status")

			if out := k.must("kubectl", "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.labels.topology\.kubernetes\.io/zone} {.status.nodeInfo.kubeletVersion};{end}`); out != "node1 zone-1 v1.36.3;node2 zone-2 v1.36.3;" {
				t.Errorf("nodes: %s", out)
			}
			k.answers()
			if got := k.look(); !cmp.Equal(got.Mounts, before.Mounts) || !cmp.Equal(got.Links, before.Links) {
				t.Errorf("the machine sees the cluster's mounts or links: %s", cmp.Diff(before, got))
			}

			k.must("down")
			k.unchanged(before)
		})
	}
}

// answers checks that names, Services and the way in from the machine work, and that there
// is no way out.
func (k *tool) answers() {
	k.t.Helper()
	if out := k.must("exec", "getent", "hosts", "kubernetes.default"); !strings.HasPrefix(out, network.Kubernetes+" ") {
		k.t.Errorf("DNS answers %q", out)
	}
	if out := k.must("exec", "--node", "0", "kubectl", "get", "--raw", "/readyz"); out != "ok" {
		k.t.Errorf("kubectl of the cluster, on the control plane: %q", out)
	}
	for node := 1; node <= 2; node++ {
		at := network.Dialer{Pid: k.member(node).PID}
		conn, err := at.DialContext(k.t.Context(), "tcp", net.JoinHostPort(network.Kubernetes, "443"))
		if err != nil {
			k.t.Fatalf("a Service from node %d: %v", node, err)
		}
		_ = conn.Close()
		if _, err := at.DialContext(k.t.Context(), "tcp", "1.1.1.1:53"); err == nil || !strings.Contains(err.Error(), "unreachable") {
			k.t.Errorf("an address outside, from node %d: %v", node, err)
		}
		began := time.Now()
		if _, err := at.DialContext(k.t.Context(), "tcp", "198.18.1.250:80"); err == nil || time.Since(began) > 5*time.Second {
			k.t.Errorf("a pod that is not there, from node %d: %v after %s", node, err, time.Since(began))
		}
	}

	ctx, stop := context.WithCancel(k.t.Context())
	forward := k.command("forward", "-n", "kube-system", "19153:kube-dns/metrics")
	if err := forward.Start(); err != nil {
		k.t.Fatal(err)
	}
	defer func() {
		stop()
		_ = forward.Process.Signal(os.Interrupt)
		if err := forward.Wait(); err != nil {
			k.t.Errorf("forward: %v", err)
		}
	}()
	var body []byte
	if !eventually(10*time.Second, func() bool {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:19153/metrics", nil)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)

		return err == nil && bytes.Contains(body, []byte("coredns_build_info"))
	}) {
		k.t.Errorf("a forwarded port answers %q", body)
	}
	http.DefaultClient.CloseIdleConnections()
}

func (k *tool) member(i int) member {
	k.t.Helper()
	r, err := k.c.running()
	if err != nil {
		k.t.Fatal(err)
	}

	return r.Members[i]
}

func TestUpMendsWhateverWasKilled(t *testing.T) {
	k := newTool(t)
	before := k.look()
	k.must("up")
	began := time.Now()
	k.must("up")
	if time.Since(began) > 5*time.Second {
		t.Errorf("up of a cluster that is up took %s", time.Since(began))
	}

	for _, one := range [][2]string{
		{"control-plane", "etcd"},
		{"control-plane", "kube-apiserver"},
		{"control-plane", "kube-controller-manager"},
		{"control-plane", "kube-scheduler"},
		{"node1", "containerd"},
		{"node1", "kubelet"},
		{"node2", "kube-proxy"},
	} {
		k.kill(k.pid(one[0], one[1]))
		if !eventually(5*time.Second, func() bool { out, err := k.run("status"); return err != nil && strings.Contains(out, "ended: killed") }) {
			t.Errorf("status does not tell that %s was killed", one[1])
		}
		k.must("up")
		k.must("status")
	}
	k.answers()

	// A whole node: there is no mending that, so up begins anew.
	first := k.member(0).PID
	k.kill(k.member(2).PID)
	if out, err := k.run("status"); err == nil {
		t.Errorf("status finds nothing wrong with a node that is gone:\n%s", out)
	}
	k.must("up")
	if k.member(0).PID == first {
		t.Error("the control plane is still that of the cluster that lost a node")
	}
	k.answers()

	// Everything, with no warning.
	r, err := k.c.running()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Members {
		k.kill(m.PID)
	}
	k.must("down")
	k.unchanged(before)
}

func TestAnUpThatIsKilledAtAnyPointIsCleanedUpAfter(t *testing.T) {
	k := newTool(t)
	before := k.look()
	points := map[string]func() bool{
		"as the folder is made":    func() bool { return exists(k.c.run()) },
		"as the record is written": func() bool { return exists(k.c.run(recordFile)) },
		"as the API server starts": func() bool { return exists(k.c.run("log", "control-plane-kube-apiserver.log")) },
		"as the kubelets start":    func() bool { return exists(k.c.run("log", "node2-kubelet.log")) },
		"as the first containers come": func() bool {
			pods := 0
			for _, node := range []string{"node1", "node2"} { // the scheduler may give one of them all
				pods = max(pods, len(below(t, k.c.run(node, "pods"), 1, false)))
			}

			return pods > 1
		},
	}
	for name, reached := range points {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
			up := k.command("up")
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			if !eventually(time.Minute, reached) {
				t.Errorf("%s: not reached", name)
			}
			_ = up.Process.Signal(signal) // or it has just ended
			err := up.Wait()
			t.Logf("%v %s: %v", signal, name, err)
			if signal == syscall.SIGKILL {
				k.must("down")
			}
			k.unchanged(before)
		}
	}

	// And up carries on where one that was killed stopped.
	up := k.command("up")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	if !eventually(time.Minute, points["as the API server starts"]) {
		t.Error("the API server does not start")
	}
	_ = up.Process.Kill()
	_ = up.Wait()
	k.must("up")
	k.must("status")
	k.must("down")
	k.unchanged(before)
}

func TestTheSuitesServicesRunUnderTheNamesOfTheManifests(t *testing.T) {
	k := newTool(t)
	k.must("up")
	k.must("load", "rng")
	for node := 1; node <= 2; node++ {
		pod := fmt.Sprintf("rng-%d", node)
		overrides, err := json.Marshal(map[string]any{"spec": map[string]any{"nodeName": fmt.Sprintf("node%d", node)}})
		if err != nil {
			t.Fatal(err)
		}
		refs := k.images()
		k.must("kubectl", "run", pod, "--image", refs["rng"], "--overrides", string(overrides))
		k.must("kubectl", "wait", "--for=condition=Ready", "pod/"+pod, "--timeout=60s")
		if out := k.must("kubectl", "logs", pod); !strings.Contains(out, "seeded") {
			t.Errorf("the log of %s: %s", pod, out)
		}
	}
}

func (k *tool) images() map[string]string {
	k.t.Helper()
	source, err := k.c.sourceTree()
	if err != nil {
		k.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(source, "kustomize", "base", "kustomization.yaml"))
	if err != nil {
		k.t.Fatal(err)
	}
	refs, err := imageNames(text)
	if err != nil {
		k.t.Fatal(err)
	}

	return refs
}
