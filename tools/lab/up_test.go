package main_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOverlaysStayUpForStepsUntilCtrlCAndThenNothingIsLeft(t *testing.T) {
	l := launch(t, "up", "--port", "0", "clusterip", "endpointslice")
	_, host, _ := strings.Cut(l.await("http://"), "http://")
	answer, err := http.Post("http://"+host+"/step", "", strings.NewReader(`{"overlay": "endpointslice", "scale": 4, "kill": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.HasSuffix(string(text), " endpointslice: SIGKILL 1 pod, scale to 4\n") {
		t.Errorf("%s, %s, %v", answer.Status, text, err)
	}
	l.await("endpointslice: SIGKILL 1 pod, scale to 4")
	want := map[string]int{"clusterip": 3, "endpointslice": 4}
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(50 * time.Millisecond) {
		ready := readyPods(t, host)
		if ready["clusterip"] == want["clusterip"] && ready["endpointslice"] == want["endpointslice"] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("ready: %v, want %v", ready, want)
		}
	}

	if err := l.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said, state := l.end()
	if state.ExitCode() != 0 || !strings.HasSuffix(said, "lab: whatever was started has been ended\n") {
		t.Errorf("%v: %s", state, said)
	}
	if left := slices.Concat(l.processes(), l.folders()); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// readyPods are those of rng by overlay, as the page has them.
func readyPods(t *testing.T, host string) map[string]int {
	t.Helper()
	answer, err := http.Get("http://" + host + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var state struct {
		Overlays []struct {
			Name  string
			Ready int
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	ready := map[string]int{}
	for _, o := range state.Overlays {
		ready[o.Name] = o.Ready
	}

	return ready
}

func TestCtrlCWhileOverlaysStartEndsThemToo(t *testing.T) {
	l := launch(t, "up", "--port", "0", "clusterip")
	l.await("starting")
	if err := l.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said, state := l.end()
	if state.ExitCode() != 130 || !strings.HasSuffix(said, "lab: interrupted: whatever was started has been ended\n") {
		t.Errorf("%v: %s", state, said)
	}
}

func TestAPortThatIsTakenIsSaidBeforeAnythingIsStarted(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	l := launch(t, "up", "--port", port, "clusterip")
	said, state := l.end()
	if want := "address already in use: give another, or 0 for a free one\n"; state.ExitCode() != 2 || !strings.HasSuffix(said, want) || strings.Count(said, "\n") != 1 {
		t.Errorf("%v: %s", state, said)
	}
}
