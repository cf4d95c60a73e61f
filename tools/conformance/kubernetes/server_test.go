//go:build e2e

package kubernetes

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// tool names the program of tools/cluster, without which nobody here can kill a server and bring it back.
const tool = "EVENKEEL_CLUSTER"

// server is the process of the API server.
type server struct{ program string }

// newServer skips the test where there is none. When the test ends, the server is up.
func newServer(t *testing.T) server {
	t.Helper()
	s := server{program: os.Getenv(tool)}
	if s.program == "" {
		t.Skipf("%s is not set: it names the program of tools/cluster, which says what process the API server is and starts it anew", tool)
	}
	t.Cleanup(func() {
		if !process.MatchString(s.status(t)) {
			s.up(t)
		}
	})

	return s
}

// Of `cluster status`: the line of the API server, and how the cluster was started.
var (
	process     = regexp.MustCompile(`(?m)^control-plane +kube-apiserver +(\d+) +running$`)
	startedWith = regexp.MustCompile(`; (\d+) nodes, kube-proxy with (\w+)`)
)

func (s server) status(t *testing.T) string {
	t.Helper()
	text, err := exec.Command(s.program, "status").CombinedOutput()
	if len(text) == 0 {
		t.Fatalf("%s status: %v", s.program, err) // it also fails when a component has ended
	}

	return string(text)
}

// kill kills the process, and returns when nothing is left of it.
func (s server) kill(t *testing.T) {
	t.Helper()
	text := s.status(t)
	found := process.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s status: kube-apiserver is not running:\n%s", s.program, text)
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	t.Logf("killed kube-apiserver, process %d", pid)
}

// up starts what does not run, and waits for it.
func (s server) up(t *testing.T) {
	t.Helper()
	text := s.status(t)
	found := startedWith.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s status: how many nodes, and what proxy mode?\n%s", s.program, text)
	}
	start := time.Now()
	if out, err := exec.Command(s.program, "up", "--nodes", found[1], "--proxy-mode", found[2]).CombinedOutput(); err != nil {
		t.Fatalf("%s up: %v\n%s", s.program, err, out)
	}
	t.Logf("%s up took %.1f s", s.program, time.Since(start).Seconds())
}
