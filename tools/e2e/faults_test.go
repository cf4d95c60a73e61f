//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

// showsRetries has one pod of rng fail all RPCs, and asks until an attempt has gone there.
func (o overlay) showsRetries(t *testing.T) {
	must(t, "-n", o.name, "set", "env", "deployment/rng", "INSPECT_PORT=8090")
	// Under load a broken pod uses the tokens of the retry throttling up within seconds (gRFC A6), and then
	// nothing is tried again.
	must(t, "-n", o.name, "set", "env", "deployment/client", "RNG_RATE=1")
	must(t, "-n", o.name, "rollout", "status", "deployment/client", "--timeout=2m")
	if err := o.settled(t.Context(), "rng"); err != nil {
		t.Fatal(err)
	}
	pods, err := o.pods(t.Context(), "rng")
	if err != nil {
		t.Fatal(err)
	}
	broken := pods[0].Name
	if _, err := faultsOf(t, o, broken).Set(t.Context(), &faultv1.SetRequest{Faults: &faultv1.Faults{
		Errors: &faultv1.Errors{Rate: 1, Code: "UNAVAILABLE"},
	}}); err != nil {
		t.Fatal(err)
	}
	// In a row: with a pause between them, as reading a trace makes one, the load's RPCs may take the broken pod's turn
	// again and again.
	var asked []string
	for range 9 {
		asked = append(asked, o.asks(t))
	}
	for _, id := range asked {
		told := o.tells(t, id)
		if told.retries == 0 {
			continue
		}
		if got := value(told.failed[0].Tags, "evenkeel.pod"); got != broken {
			t.Errorf("the attempt at %q failed, and %s is broken", got, broken)
		}
		if got := value(told.failed[0].Tags, "rpc.grpc.status_code"); got != fmt.Sprint(int(codes.Unavailable)) {
			t.Errorf("its status is %s", got)
		}
		if told.pods["rng"] == broken {
			t.Errorf("the attempt after it went to %s, too", broken)
		}
		t.Logf("trace %s: an attempt at %s failed, one at %s did not", id, broken, told.pods["rng"])

		return
	}
	t.Errorf("of %d requests none went to %s first", len(asked), broken)
}

// faultsOf is the fault service of a pod, by way of kubectl port-forward, until the test ends.
func faultsOf(t *testing.T, o overlay, pod string) faultv1.FaultServiceClient {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	forward := exec.CommandContext(ctx, "kubectl", "-n", o.name, "port-forward", "pod/"+pod, ":8090")
	forward.Cancel = func() error { return forward.Process.Signal(syscall.SIGINT) }
	forward.WaitDelay = 5 * time.Second
	stdout, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = forward.Wait() // it was told to end
	})
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n') // Forwarding from 127.0.0.1:40001 -> 8090
	if err != nil {
		t.Fatalf("kubectl port-forward: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // until the process ends
	words := strings.Fields(line)
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "127.0.0.1:") })
	if i < 0 {
		t.Fatalf("kubectl port-forward says %q", line)
	}
	conn, err := grpc.NewClient("passthrough:///"+words[i], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	return faultv1.NewFaultServiceClient(conn)
}
