//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// shutsDown deletes a pod of rng with a stream in flight, and watches it leave from all sides: its log, the stream's HTTP/2
// connection, and what the kubelet says of its container. The servers are the same in all overlays.
func (o overlay) shutsDown(t *testing.T) {
	pods, err := o.pods(t.Context(), "rng")
	if err != nil {
		t.Fatal(err)
	}
	pod := pods[0]
	preStop := time.Duration(pod.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second

	log := o.follow(t, pod.Name)
	ended := o.end(t, pod.Name)
	goAway := make(chan time.Time, 1)
	// It takes longer than preStop, and less than the drain may.
	stream := openStream(t, forward(t, o.name, "pod/"+pod.Name, 8081), preStop+4*time.Second, goAway)

	deleted := time.Now()
	must(t, "-n", o.name, "delete", "pod", pod.Name, "--wait=false")

	var messages int
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
		messages++
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream in flight ended after %d messages with %v", messages, err)
	}
	streamed := time.Since(deleted)
	select {
	case at := <-goAway:
		t.Logf("GOAWAY after %.1f s, the stream's regular end after %.1f s", at.Sub(deleted).Seconds(), streamed.Seconds())
		if after := at.Sub(deleted); after < preStop || after > streamed {
			t.Errorf("GOAWAY came after %s: preStop sleeps %s, and the stream ended after %s", after, preStop, streamed)
		}
	default:
		t.Error("the connection ended without a GOAWAY")
	}

	state := <-ended
	if state == nil {
		t.Fatal("the kubelet has not said how the container ended")
	}
	took := state.FinishedAt.Sub(deleted)
	t.Logf("the container ended after %s of %s: exit code %d, %s", took.Round(time.Second), grace, state.ExitCode, state.Reason)
	// FinishedAt is in whole seconds. Who outlives the grace period is killed: 137, by SIGKILL.
	if state.ExitCode != 0 || state.Signal != 0 || state.Reason != "Completed" || took >= grace {
		t.Errorf("the container ended after %s of %s: %+v", took, grace, state)
	}

	lines := <-log
	draining := at(t, lines, "draining")
	t.Logf("SIGTERM after %.1f s", draining.Sub(deleted).Seconds())
	if after := draining.Sub(deleted); after < preStop {
		t.Errorf("SIGTERM came after %s, before the end of preStop's %s", after, preStop)
	}
	at(t, lines, "drained")

	events, err := api.CoreV1().Events(o.name).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events.Items {
		if event.Type == corev1.EventTypeWarning && event.Reason != "Unhealthy" { // readiness of one that drains
			t.Errorf("a warning of the pod: %s: %s", event.Reason, event.Message)
		}
	}
}

// forward makes the port of a pod, or of one of a Deployment's, reachable, and returns the address. A forwarded connection is one to the
// pod itself.
func forward(t *testing.T, namespace, pod string, port int) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "kubectl", "-n", namespace, "port-forward", pod, fmt.Sprintf(":%d", port))
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = 5 * time.Second
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGINT)
		_ = command.Wait() // it ends by the signal
	})
	// "Forwarding from 127.0.0.1:40123 -> 8081", and then nothing of interest.
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`from (127\.0\.0\.1:\d+) `).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("port-forward says %q: %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	return found[1]
}

// openStream begins a stream of about so long, and tells when its connection was told to go away.
func openStream(t *testing.T, address string, length time.Duration, goAway chan<- time.Time) grpc.ServerStreamingClient[rngv1.RollStreamResponse] {
	t.Helper()
	const interval = 100 * time.Millisecond
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}

			return listenIn(conn, goAway), nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := rngv1.NewRngServiceClient(conn).RollStream(t.Context(), &rngv1.RollStreamRequest{
		Count: uint32(length / interval), Interval: durationpb.New(interval),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	return stream
}

// overheard is a connection of a client on which somebody else reads along.
type overheard struct {
	net.Conn

	copy *io.PipeWriter
	once sync.Once
}

// listenIn reports the first GOAWAY frame that a server sends.
func listenIn(conn net.Conn, goAway chan<- time.Time) net.Conn {
	read, write := io.Pipe()
	go func() {
		defer func() { _, _ = io.Copy(io.Discard, read) }() // whatever else comes, so that nobody waits
		frames := http2.NewFramer(nil, read)
		for {
			frame, err := frames.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type == http2.FrameGoAway {
				goAway <- time.Now()

				return
			}
		}
	}()

	return &overheard{Conn: conn, copy: write}
}

// Read reads for both.
func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	_, _ = o.copy.Write(p[:n]) // the reader takes all
	if err != nil {
		o.once.Do(func() { _ = o.copy.Close() })
	}

	return n, err
}

// follow delivers a pod's log, with the time of each line, when the pod has ended.
func (o overlay) follow(t *testing.T, pod string) <-chan string {
	t.Helper()
	stream, err := api.CoreV1().Pods(o.name).GetLogs(pod, &corev1.PodLogOptions{Follow: true, Timestamps: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := make(chan string, 1)
	go func() {
		var lines bytes.Buffer
		_, err := io.Copy(&lines, stream)
		_ = stream.Close() // what was read is there
		if err != nil {
			fmt.Fprintf(&lines, "the log broke off: %v\n", err)
		}
		log <- lines.String()
	}()

	return log
}

// at is the time of the first line of a log that has a message.
func at(t *testing.T, log, message string) time.Time {
	t.Helper()
	for line := range strings.Lines(log) {
		if stamp, text, _ := strings.Cut(line, " "); strings.Contains(text, message) {
			when, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				t.Fatal(err)
			}

			return when
		}
	}
	t.Fatalf("the log does not say %q:\n%s", message, log)

	return time.Time{}
}

// end delivers how a pod's container ended, once the pod is gone: nil if nobody said.
func (o overlay) end(t *testing.T, pod string) <-chan *corev1.ContainerStateTerminated {
	t.Helper()
	events, err := api.CoreV1().Pods(o.name).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + pod})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan *corev1.ContainerStateTerminated, 1)
	go func() {
		defer events.Stop()
		var last *corev1.ContainerStateTerminated
		for event := range events.ResultChan() {
			if p, ok := event.Object.(*corev1.Pod); ok && len(p.Status.ContainerStatuses) > 0 {
				if state := p.Status.ContainerStatuses[0].State.Terminated; state != nil {
					last = state
				}
			}
			if event.Type == watch.Deleted {
				break
			}
		}
		ended <- last
	}()

	return ended
}
