//go:build e2e

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// These tests run the lab as people do, on a real cluster that tools/cluster has started: see `make e2e-lab`. They need
// it for themselves, for they stop its DNS and freeze its nodes.
var (
	lab  = flag.String("lab", "", "the lab's program")
	tool = flag.String("cluster-tool", "", "the program of tools/cluster")
)

const everything = `name: everything
description: Each step once.
service: rng
start: {replicas: 3}
load: {rng: 50, geoip: 5}
keys: {count: 50}
phases:
  - {name: steady, for: 5s}
  - {name: scale up, scale: 5, for: 15s}
  - {name: update, rollout: true, for: 30s}
  - {name: leave, delete: 1, cordon: 1, for: 10s}
  - {name: drain, drain-node: 2, for: 25s}
  - {name: no DNS, dns: down, for: 8s}
  - {name: crash, kill: 1, for: 8s}
  - {name: frozen pod, freeze: 1, for: 5s}
  - {name: no API server, api-server: down, for: 8s}
  - {name: bad network, loss: {node: 2, percent: 5}, for: 5s}
  - {name: frozen node, freeze-node: 2, for: 5s}
  - {name: cut off, partition-node: 2, for: 5s}
  - {name: well again, for: 15s}
  - {name: scale down, scale: 2, for: 8s}
`

// run runs the lab, which is sent a signal when it prints something. It returns what it has said of itself.
func run(t *testing.T, scenario string, signal os.Signal, when string, args ...string) (out string, r *results.Results, err error) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "scenario.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	// The tests are compiled to be run at the root of the tree.
	args = append([]string{"run", "--env=kubernetes", "--scenario", file, "--out", folder}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, *lab, args...)
	said := &teller{when: when, told: make(chan struct{})}
	command.Stderr = said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-said.told:
		if err := command.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		err = <-ended
	case err = <-ended:
		if when != "" {
			t.Errorf("it has not said %q:\n%s", when, said.text.String())
		}
	}
	if file, openErr := os.Open(filepath.Join(folder, "results.json")); openErr == nil {
		defer file.Close()
		if r, openErr = results.Decode(file); openErr != nil {
			t.Error(openErr)
		}
	}

	return said.text.String(), r, err
}

// teller tells when a text was written.
type teller struct {
	when string
	told chan struct{}
	text bytes.Buffer
}

func (w *teller) Write(text []byte) (int, error) {
	before := w.when != "" && strings.Contains(w.text.String(), w.when)
	n, err := w.text.Write(text)
	if w.when != "" && !before && strings.Contains(w.text.String(), w.when) {
		close(w.told)
	}

	return n, err
}

// state is what the lab must leave as it was.
func state(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, command := range []string{
		"kubectl get namespaces -o name",
		`kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.spec} {.metadata.annotations}{"\n"}{end}'`,
		`kubectl -n kube-system get deployments -o jsonpath='{range .items[*]}{.metadata.name} {.spec.replicas} {.metadata.annotations.evenkeel\.dev/replicas}{"\n"}{end}'`,
	} {
		text, err := exec.CommandContext(t.Context(), "bash", "-c", command).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, text)
		}
		out = append(out, string(text))
	}
	// Its status is an error if anything is wrong. Processes are others after a fault.
	if text, err := exec.CommandContext(t.Context(), *tool, "status").CombinedOutput(); err != nil {
		t.Errorf("status: %v\n%s", err, text)
	}

	return out
}

func TestEachStepIsDoneAndTheClusterIsLeftAsItWas(t *testing.T) {
	before := state(t)
	said, r, err := run(t, everything, nil, "", "--cluster-tool", *tool, "endpointslice", "consistent-hash")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if r.Environment.Kind != "kubernetes" || r.Environment.Cluster == nil || len(r.Environment.Cluster.Nodes) != 2 {
		t.Errorf("it ran on %+v", r.Environment)
	}
	if len(r.Runs) != 4 {
		t.Fatalf("%d runs of two overlays and two services", len(r.Runs))
	}
	for _, run := range r.Runs {
		if run.Service != "rng" {
			continue
		}
		if run.Keys == nil || run.Keys.Count != 50 {
			t.Errorf("%s: its keys are %v", run.Overlay, run.Keys)
		}
		s := run.Summary(&r.Scenario)
		t.Logf("%s: %d of %d RPCs failed, %d of %d in graceful phases; %d new pods, the first RPC after at most %v s; %d left, off after %v s",
			run.Overlay, s.Failed, s.RPCs, s.GracefulFailed, s.GracefulRPCs, s.NewPods.Count, value(s.NewPods.Worst), s.OffPods.Count, value(s.OffPods.Worst))
		if s.NewPods.Count < 10 || s.NewPods.Never > 1 { // one may be too late, or on the node that is cut off
			t.Errorf("%s: %d new pods, %d of them never reached", run.Overlay, s.NewPods.Count, s.NewPods.Never)
		}
		for i, p := range run.Phases {
			want := r.Scenario.Load["rng"] * p.Seconds
			if float64(p.RPCs) < 0.9*want || float64(p.RPCs) > 1.1*want {
				t.Errorf("%s: %s: %d RPCs instead of %v", run.Overlay, p.Name, p.RPCs, want)
			}
			// TCP takes some seconds to find out that a node is back.
			if r.Scenario.Phases[i].Graceful && p.Failed > 0 && p.Name != "well again" {
				t.Errorf("%s: %s: %d of %d RPCs failed: %s", run.Overlay, p.Name, p.Failed, p.RPCs, p.FirstError)
			}
		}
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}

func value(x *float64) any {
	if x == nil {
		return "-"
	}

	return *x
}

const disturbed = `name: disturbed
service: rng
start: {replicas: 2}
load: {rng: 20}
phases:
  - {name: steady, for: 3s}
  - {name: disturbed, drain-node: 1, dns: down, freeze-node: 2, for: 10m}
`

func TestCtrlCLeavesTheClusterAsItWas(t *testing.T) {
	before := state(t)
	for _, when := range []string{"starting the overlays", "waiting for the first RPCs", "2/2 disturbed"} {
		said, _, err := run(t, disturbed, os.Interrupt, when, "--cluster-tool", *tool, "endpointslice")
		failure, ended := errors.AsType[*exec.ExitError](err)
		if !ended || failure.ExitCode() != 130 {
			t.Errorf("at %q: %v\n%s", when, err, said)
		}
		if diff := cmp.Diff(before, state(t)); diff != "" {
			t.Errorf("at %q: left behind:\n%s", when, diff)
		}
	}
}

func TestTheNextLabMendsWhatOneThatWasKilledHasLeft(t *testing.T) {
	before := state(t)
	if _, _, err := run(t, disturbed, syscall.SIGKILL, "2/2 disturbed", "--cluster-tool", *tool, "endpointslice"); err == nil {
		t.Fatal("it was not killed")
	}
	quick := "name: quick\nservice: rng\nstart: {replicas: 2}\nload: {rng: 20}\nphases:\n  - {name: steady, for: 3s}\n"
	said, r, err := run(t, quick, nil, "", "endpointslice")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if failed := r.Runs[0].Phases[0].Failed; failed > 0 {
		t.Errorf("%d RPCs failed", failed)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}

func TestANamespaceThatIsNotTheLabsIsNotTouched(t *testing.T) {
	kubectl(t, "create", "namespace", "endpointslice")
	defer kubectl(t, "delete", "namespace", "endpointslice")
	said, _, err := run(t, disturbed, nil, "", "--context=evenkeel", "--cluster-tool", *tool, "endpointslice")
	if err == nil || !strings.Contains(said, "the namespace endpointslice exists, and the lab makes it anew: kubectl delete namespace endpointslice") {
		t.Errorf("%v\n%s", err, said)
	}
	if labels := kubectl(t, "get", "namespace", "endpointslice", "-o", "jsonpath={.metadata.labels}"); strings.Contains(labels, "evenkeel") {
		t.Errorf("its labels are %s", labels)
	}
}

func TestWhatIsNotPossibleOrNotAllowedIsSaidBeforeAnythingIsDone(t *testing.T) {
	with := func(step string) string {
		return strings.Replace(disturbed, "drain-node: 1, dns: down, freeze-node: 2", step, 1)
	}
	for _, test := range []struct {
		scenario string
		args     []string
		want     string
	}{
		{with("freeze: 1"), nil, `phase "disturbed": freeze: the kubernetes environment cannot do that: Kubernetes has no request for it`},
		{with("drain-node: 1"), nil, `drain-node: the kubernetes environment cannot do that: it disturbs more than the overlays' namespaces: allow it by naming the cluster with --context`},
		{with("drain-node: 3"), []string{"--context=evenkeel"}, "node 3: there are 2 that take pods"},
		{
			with("freeze-node: 1, partition-node: 2"),
			[]string{"--cluster-tool", *tool},
			"each of the 2 nodes is frozen, cut off or slowed down at some time: leave one alone, for the clients to measure on",
		},
		{with("scale: 1"), []string{"--context=elsewhere"}, `"elsewhere"`},
		{with("scale: 1"), []string{"--bin-dir=bin"}, "--bin-dir is of no use with --env=kubernetes"},
	} {
		said, _, err := run(t, test.scenario, nil, "", append(test.args, "endpointslice")...)
		failure, ended := errors.AsType[*exec.ExitError](err)
		if !ended || !strings.Contains(said, test.want) || strings.Contains(said, "starting the overlays") {
			t.Errorf("%v, want %s:\n%s", failure, test.want, said)
		}
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "kubectl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("kubectl %v: %v\n%s", args, err, out)
	}

	return string(out)
}
