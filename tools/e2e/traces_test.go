//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
	"github.com/evenkeel/evenkeel/services/client/whereami"
)

// traced is the overlay whose traces are looked at: the pods are known by name, and a failed attempt is tried again.
const traced = "endpointslice"

// TestTraces reads back from Jaeger what became of requests to the client's front door.
func TestTraces(t *testing.T) {
	observe(t, "jaeger")
	o := withComponents(t, traced, "tracing", "retries")
	if err := o.slowDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, service := range services {
		if err := o.settled(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a request is one trace through three services", func(t *testing.T) {
		story := o.tells(t, o.asks(t))
		if story.retries != 0 {
			t.Errorf("%d attempts were repeated, and there was no need", story.retries)
		}
	})
	t.Run("so it is by gRPC", func(t *testing.T) { o.tells(t, o.asksByGRPC(t)) })
	t.Run("so it is in a rollout", func(t *testing.T) {
		must(t, "-n", o.name, "rollout", "restart", "deployment/rng")
		var asked []string
		for o.rollingOut(t) || len(asked) < 5 {
			asked = append(asked, o.asks(t))
		}
		pods := map[string]bool{}
		for _, id := range asked {
			pods[o.tells(t, id).pods["rng"]] = true
		}
		if len(pods) < 4 {
			t.Errorf("%d requests in a rollout of three pods were answered by %v", len(asked), slices.Sorted(maps.Keys(pods)))
		}
		t.Logf("%d requests, each one trace; rng answered from %d pods", len(asked), len(pods))
	})
	t.Run("a retried RPC shows both attempts with their pods", func(t *testing.T) { o.showsRetries(t) })
}

// observe installs a part of what observes, until the test ends. They share a namespace, which is deleted at the end of the first.
func observe(t *testing.T, part string) {
	t.Helper()
	folder := "deploy/observability/" + part
	t.Cleanup(func() {
		if _, err := kubectl(context.WithoutCancel(t.Context()), "delete", "-k", folder, "--ignore-not-found", "--wait=true"); err != nil {
			t.Error(err)
		}
	})
	must(t, "apply", "-k", folder)
	must(t, "-n", "observability", "rollout", "status", "deployment/"+part, "--timeout=2m")
}

// withComponents applies an overlay with components, in the namespace of the overlay, and waits until its pods are ready.
func withComponents(t *testing.T, name string, components ...string) overlay {
	t.Helper()
	o := named(t, name)[0]
	folder, err := os.MkdirTemp(root, ".e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + name +
		"\nresources: [../kustomize/overlays/" + name + "]\ncomponents:\n"
	for _, component := range components {
		text += "- ../kustomize/components/" + component + "\n"
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "apply", "-k", folder)
	must(t, "-n", name, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=2m")

	return o
}

// asks sends a request to the front door, and returns the number of its trace.
func (o overlay) asks(t *testing.T) string {
	t.Helper()
	raw, err := api.CoreV1().Services(o.name).ProxyGet("http", "client", "http-admin", "api/whereami", map[string]string{"ip": "8.8.8.8"}).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("the front door: %v: %s", err, raw)
	}
	var answer whereami.Answer
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.TraceID == "" {
		t.Fatalf("no trace of %s", raw)
	}

	return answer.TraceID
}

// asksByGRPC does the same over gRPC.
func (o overlay) asksByGRPC(t *testing.T) string {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+forward(t, o.name, "deployment/client", 9300), grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := whereamiv1.NewWhereamiServiceClient(conn).Locate(t.Context(), &whereamiv1.LocateRequest{Ip: "8.8.8.8"})
	if err != nil {
		t.Fatalf("the front door: %v", err)
	}
	if answer.GetTraceId() == "" {
		t.Fatalf("no trace of %v", answer)
	}

	return answer.GetTraceId()
}

// rollingOut says whether the pods of rng are being replaced.
func (o overlay) rollingOut(t *testing.T) bool {
	t.Helper()
	status := must(t, "-n", o.name, "get", "deployment/rng",
		"-o", "jsonpath={.status.observedGeneration}/{.metadata.generation} {.status.updatedReplicas}/{.status.replicas}/{.spec.replicas}")
	var observed, wanted, updated, there, replicas int
	if _, err := fmt.Sscanf(status, "%d/%d %d/%d/%d", &observed, &wanted, &updated, &there, &replicas); err != nil {
		return true // a field is not there yet
	}

	return observed < wanted || updated < replicas || there > replicas
}

// span is one of Jaeger's.
type span struct {
	ID         string `json:"spanID"`
	Operation  string `json:"operationName"`
	Process    string `json:"processID"`
	References []struct {
		Type string `json:"refType"`
		ID   string `json:"spanID"`
	} `json:"references"`
	Tags []tag `json:"tags"`
}

type tag struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func value(tags []tag, key string) string {
	for _, t := range tags {
		if t.Key == key {
			return fmt.Sprint(t.Value)
		}
	}

	return ""
}

// jaegerTrace is a trace as Jaeger's API has it (GET /api/traces/ID).
type jaegerTrace struct {
	Spans     []span `json:"spans"`
	Processes map[string]struct {
		Service string `json:"serviceName"`
		Tags    []tag  `json:"tags"`
	} `json:"processes"`
}

// jaeger asks Jaeger's query API.
func jaeger(ctx context.Context, path string, params map[string]string) ([]jaegerTrace, error) {
	raw, err := api.CoreV1().Services("observability").ProxyGet("http", "jaeger", "http-query", path, params).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("jaeger: %w: %s", err, raw)
	}
	var answer struct {
		Data []jaegerTrace `json:"data"`
	}

	return answer.Data, json.Unmarshal(raw, &answer)
}

// children are the spans below one; those that have none above them for "".
func (j jaegerTrace) children(parent, operation string) []span {
	var out []span
	for _, s := range j.Spans {
		above := ""
		for _, r := range s.References {
			if r.Type == "CHILD_OF" {
				above = r.ID
			}
		}
		if above == parent && strings.HasPrefix(s.Operation, operation) {
			out = append(out, s)
		}
	}

	return out
}

// story is what the trace of a request tells.
type story struct {
	pods    map[string]string // that answered, by service
	retries int
	failed  []span // attempts
}

// tells waits until Jaeger has all of a request's trace, and checks its shape.
func (o overlay) tells(t *testing.T, id string) story {
	t.Helper()
	var told story
	if err := eventually(t.Context(), func(ctx context.Context) error {
		traces, err := jaeger(ctx, "api/traces/"+id, nil)
		if err != nil {
			return err
		}
		if len(traces) != 1 {
			return fmt.Errorf("%d traces of one request", len(traces))
		}
		told, err = read(traces[0])
		if err != nil {
			return fmt.Errorf("trace %s: %w", id, err)
		}

		return nil
	}); err != nil {
		t.Fatal(err)
	}

	return told
}

// read checks a trace of a request: the front door, and below it an RPC to each service; below each RPC its attempts, with the pod that was
// chosen; and below each attempt what that pod says of it.
func read(j jaegerTrace) (story, error) {
	told := story{pods: map[string]string{}}
	doors := append(j.children("", "GET /api/whereami"), j.children("", "Recv.whereami.v1.WhereamiService.Locate")...)
	if len(doors) != 1 || j.Processes[doors[0].Process].Service != "client" {
		return told, fmt.Errorf("%d spans without one above them", len(doors))
	}
	for service, method := range map[string]string{"rng": "rng.v1.RngService.Roll", "geoip": "geoip.v1.GeoipService.Lookup"} {
		rpcs := j.children(doors[0].ID, "Sent."+method)
		if len(rpcs) != 1 {
			return told, fmt.Errorf("%d RPCs to %s", len(rpcs), service)
		}
		rpc := rpcs[0]
		for key, want := range map[string]string{
			"evenkeel.strategy": "endpointslice round_robin", "grpc.target": "endpointslice:///" + service + "-headless:grpc",
			"grpc.lb_policy": "round_robin", "evenkeel.name_resolution_delayed": "false", "rpc.grpc.status_code": "0",
		} {
			if got := value(rpc.Tags, key); got != want {
				return told, fmt.Errorf("%s: %s is %q instead of %q", rpc.Operation, key, got, want)
			}
		}
		attempts := j.children(rpc.ID, "Attempt."+method)
		if len(attempts) == 0 {
			return told, fmt.Errorf("no attempt at %s", service)
		}
		told.retries += len(attempts) - 1
		for _, attempt := range attempts {
			served, err := j.servedBy(attempt, service)
			if err != nil {
				return told, err
			}
			if value(attempt.Tags, "rpc.grpc.status_code") == "0" {
				told.pods[service] = served
			} else {
				told.failed = append(told.failed, attempt)
			}
		}
		if told.pods[service] == "" {
			return told, fmt.Errorf("no attempt at %s succeeded", service)
		}
	}

	return told, nil
}

// servedBy is the pod that took an attempt, by its own word and by what the client says.
func (j jaegerTrace) servedBy(attempt span, service string) (string, error) {
	received := j.children(attempt.ID, "Recv.")
	if len(received) != 1 {
		return "", fmt.Errorf("%d spans of the server below %s", len(received), attempt.Operation)
	}
	process := j.Processes[received[0].Process]
	pod := value(process.Tags, "k8s.pod.name")
	switch {
	case process.Service != service || value(process.Tags, "service.namespace") != traced:
		return "", fmt.Errorf("%s was received by %s of %s", attempt.Operation, process.Service, value(process.Tags, "service.namespace"))
	case pod == "" || pod != value(attempt.Tags, "evenkeel.pod"):
		return "", fmt.Errorf("%s went to %q, and %q received it", attempt.Operation, value(attempt.Tags, "evenkeel.pod"), pod)
	case value(attempt.Tags, "evenkeel.node") == "" || value(attempt.Tags, "evenkeel.zone") == "":
		return "", fmt.Errorf("%s: no node or no zone: %v", attempt.Operation, attempt.Tags)
	case value(received[0].Tags, "rpc.grpc.status_code") != value(attempt.Tags, "rpc.grpc.status_code"):
		return "", fmt.Errorf("%s ended otherwise than %s", attempt.Operation, received[0].Operation)
	}

	return pod, nil
}
