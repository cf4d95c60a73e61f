//go:build linux && cluster

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

// victim is a pod of DNS, which answers over HTTP and UDP.
type victim struct {
	pod           podName
	node, address string
	k, other      int // the number of its node, and of the other
}

func (k *tool) victim() victim {
	k.t.Helper()
	fields := strings.Fields(k.must("kubectl", "-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns",
		"-o", "jsonpath={.items[0].metadata.name} {.items[0].spec.nodeName} {.items[0].status.podIP}"))
	if len(fields) != 3 {
		k.t.Fatalf("no pod of DNS: %q", fields)
	}
	v := victim{pod: podName{"kube-system", fields[0]}, node: fields[1], address: fields[2], k: 1, other: 2}
	if v.node == "node2" {
		v.k, v.other = 2, 1
	}

	return v
}

// answersFrom says whether a URL answers, whatever it is, from the network of a sandbox.
func (k *tool) answersFrom(sandbox int, url string) bool {
	k.t.Helper()
	client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{
		DialContext:       k.member(sandbox).dialer().DialContext,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	response, err := client.Get(url)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()

	return err == nil
}

const queries = 200

// answered is how many of so many queries over UDP the victim answers.
func (k *tool) answered(v victim) int {
	k.t.Helper()
	conn, err := k.member(v.other).dialer().DialContext(k.t.Context(), "udp", net.JoinHostPort(v.address, "53"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer conn.Close()
	// The A record of kubernetes.default.svc.cluster.local.
	query := "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
	for range queries {
		if _, err := conn.Write([]byte(query)); err != nil {
			k.t.Fatalf("who sends is told: %v", err)
		}
	}
	count, answer := 0, make([]byte, 512)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := conn.Read(answer); err != nil {
			return count
		}
		count++
	}
}

// held is a fault that is in force.
type held struct {
	*exec.Cmd

	k     *tool
	name  string
	input io.Closer
	notes bytes.Buffer
	since time.Time
}

// fault starts a fault and waits until it is in force.
func (k *tool) fault(args ...string) *held {
	k.t.Helper()
	h := &held{Cmd: k.command(append([]string{"fault"}, args...)...), k: k, name: strings.Join(args, " ")}
	input, err := h.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	output, err := h.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	h.input, h.Stderr = input, &h.notes
	if err := h.Start(); err != nil {
		k.t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if want := "in force: " + args[0]; err != nil || !strings.HasPrefix(line, want) {
		_ = h.Wait()
		k.t.Fatalf("fault %s says %q, %v; %s", h.name, line, err, h.notes.String())
	}
	h.since = time.Now()

	return h
}

// over waits until the command has ended, and sees that the fault has.
func (h *held) over() {
	h.k.t.Helper()
	began := time.Now()
	if err := h.Wait(); err != nil {
		h.k.t.Errorf("fault %s: %v; %s", h.name, err, h.notes.String())
	}
	h.k.t.Logf("fault %s: undone within %.1f s", h.name, time.Since(began).Seconds())
	if traces := h.k.traces(); len(traces) > 0 {
		h.k.t.Errorf("after fault %s: %s", h.name, strings.Join(traces, ", "))
	}
}

// killed leaves the fault behind.
func (h *held) killed() {
	_ = h.Process.Kill()
	_ = h.Wait()
}

// traces are what a fault makes, wherever it is found.
func (k *tool) traces() []string {
	k.t.Helper()
	var out []string
	files, _ := filepath.Glob(k.c.run("faults", "*"))
	out = append(out, files...)
	r, err := k.c.running()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, m := range r.Members {
		for _, pid := range m.outerPIDs() {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && bytes.Contains(stat, []byte(") T ")) {
				out = append(out, fmt.Sprintf("process %d of %s stands still", pid, m.Name))
			}
		}
		var tables bytes.Buffer
		list := exec.Command("nft", "list", "tables", "netdev")
		list.Stdout, list.Stderr = &tables, &tables
		if err := network.Inside(m.PID, list.Start); err != nil {
			k.t.Fatal(err)
		}
		if err := list.Wait(); err != nil || tables.Len() > 0 {
			out = append(out, strings.TrimSpace(m.Name+": "+tables.String()))
		}
	}
	err = k.c.eachCgroup(func(group string) error {
		state, _ := os.ReadFile(filepath.Join(group, "freezer.state"))
		events, _ := os.ReadFile(filepath.Join(group, "cgroup.events"))
		if bytes.HasPrefix(state, []byte("FR")) || bytes.Contains(events, []byte("frozen 1")) {
			out = append(out, group+" is frozen")
		}

		return nil
	})
	if err != nil {
		k.t.Error(err)
	}

	return out
}

func TestAFaultHoldsAsLongAsItsCommandRuns(t *testing.T) {
	k := newTool(t)
	before := k.look()
	k.must("up")
	v := k.victim()
	pod, ownKubelet := "http://"+v.address+":8081/health", "https://"+network.NodeAddress(v.k)+":10250/healthz"
	podAnswers := func() bool { return k.answersFrom(v.other, pod) }
	kubeletAnswers := func() bool { return k.answersFrom(0, ownKubelet) }
	apiAnswers := func() bool { return k.answersFrom(v.other, network.APIServer+"/readyz") }
	well := func(when string) {
		t.Helper()
		// A kubelet or a pod that stood still may be behind with its work for a moment.
		if !eventually(10*time.Second, func() bool { return podAnswers() && kubeletAnswers() && apiAnswers() }) {
			t.Fatalf("%s: pod answers %t, kubelet %t, API server %t", when, podAnswers(), kubeletAnswers(), apiAnswers())
		}
	}
	well("at first")
	if n := k.answered(v); n < queries*9/10 {
		t.Fatalf("%d of %d queries were answered without a loss", n, queries)
	}

	interrupt := func(h *held) { _ = h.Process.Signal(os.Interrupt) }
	terminate := func(h *held) { _ = h.Process.Signal(syscall.SIGTERM) }
	hangUp := func(h *held) { _ = h.input.Close() }
	const limit = 1500 * time.Millisecond
	for _, one := range []struct {
		fault string
		// What answers under it.
		pod, kubelet, api bool
		end               func(*held)
	}{
		{"freeze-pod " + v.pod.String() + " --for 1500ms", false, true, true, func(h *held) {
			_ = h.Wait()
			if lasted := time.Since(h.since); lasted < limit-100*time.Millisecond {
				t.Errorf("a fault for %s lasted %s", limit, lasted)
			}
		}},
		{"freeze-node " + v.node, false, false, true, interrupt},
		{"partition " + v.node, false, false, true, terminate},
		{"loss " + v.node + " 100 --until-eof", false, false, true, hangUp},
		{"api-server --until-eof", true, true, false, hangUp},
		{"api-server --freeze", true, true, false, interrupt},
	} {
		h := k.fault(strings.Fields(one.fault)...)
		for what, test := range map[string]struct {
			want bool
			got  func() bool
		}{"pod": {one.pod, podAnswers}, "kubelet": {one.kubelet, kubeletAnswers}, "API server": {one.api, apiAnswers}} {
			// What is to answer may be slow at it; what is not must not at all.
			if test.want != (test.got() || test.want && eventually(5*time.Second, test.got)) {
				t.Errorf("%s: %s answers: %t", one.fault, what, !test.want)
			}
		}
		one.end(h)
		if h.ProcessState == nil {
			h.over()
		}
		well("after " + one.fault)
	}
	if traces := k.traces(); len(traces) > 0 {
		t.Errorf("after all: %s", strings.Join(traces, ", "))
	}

	// Half the queries are lost, and half the answers.
	h := k.fault("loss", v.node, "50")
	if n := k.answered(v); n < queries/10 || n > queries*4/10 {
		t.Errorf("with half the packets lost each way, %d of %d queries were answered, want about a quarter", n, queries)
	}
	terminate(h)
	h.over()
	if n := k.answered(v); n < queries*9/10 {
		t.Errorf("%d of %d queries were answered after a loss", n, queries)
	}

	k.crash(v)
	well("after kill-pod")
	k.refused(v)
	k.unheard(v)
	k.leavesBehind(v)
	well("after up")
	k.endsWithDown(v)
	k.unchanged(before)
}

// crash kills the victim, and sees the kubelet start it again in the same sandbox.
func (k *tool) crash(v victim) {
	k.t.Helper()
	groups := func(sandbox bool) []string {
		r, err := k.c.running()
		if err != nil {
			k.t.Fatal(err)
		}
		_, containers, err := r.pod(v.pod)
		if err != nil {
			k.t.Fatal(err)
		}
		var out []string
		for _, one := range containers {
			if one.sandbox == sandbox {
				out = append(out, one.cgroup)
			}
		}

		return out
	}
	sandbox, first := groups(true), groups(false)
	if out := k.must("fault", "kill-pod", v.pod.String()); out != "in force: kill-pod "+v.pod.String()+"\n" {
		k.t.Errorf("kill-pod says %q", out)
	}
	if !eventually(20*time.Second, func() bool { now := groups(false); return len(now) == 1 && !slices.Equal(now, first) }) {
		k.t.Errorf("a pod that was killed: %v, and before %v", groups(false), first)
	}
	if now := groups(true); !slices.Equal(now, sandbox) {
		k.t.Errorf("the sandbox of a pod whose containers were killed is another: %v", now)
	}
}

// refused asks for what cannot be.
func (k *tool) refused(v victim) {
	k.t.Helper()
	for fault, want := range map[string]string{
		"partition node3":           `node "node3": not one of node1, node2`,
		"freeze-pod default/web":    `pod "default/web": not one of those that run: kube-system/coredns-`,
		"kill-pod kube-system/core": v.pod.String(),
	} {
		if out, err := k.run(append([]string{"fault"}, strings.Fields(fault)...)...); err == nil || !strings.Contains(out, want) {
			k.t.Errorf("fault %s: %v, %s; want an error with %s", fault, err, out, want)
		}
	}

	// Many kernels cannot delay, and that is said. Where the kernel can, a connection and an
	// answer take two round trips.
	delay := k.command("fault", "delay", v.node, "50ms", "--for", "1s")
	output, err := delay.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	var notes bytes.Buffer
	delay.Stderr = &notes
	if err := delay.Start(); err != nil {
		k.t.Fatal(err)
	}
	line, _ := bufio.NewReader(output).ReadString('\n')
	if line != "" {
		began := time.Now()
		if !k.answersFrom(v.other, "http://"+v.address+":8081/health") || time.Since(began) < 200*time.Millisecond {
			k.t.Errorf("with a delay of 50 ms each way, an answer took %s", time.Since(began))
		}
	}
	if err := delay.Wait(); line == "" && (err == nil || !strings.Contains(notes.String(), "CONFIG_NET_SCH_NETEM")) {
		k.t.Errorf("a kernel that cannot delay: %v, %s", err, notes.String())
	}
	if traces := k.traces(); len(traces) > 0 {
		k.t.Errorf("after a delay: %s", strings.Join(traces, ", "))
	}
}

// unheard starts a fault for a caller that has gone before it is in force.
func (k *tool) unheard(v victim) {
	k.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		k.t.Fatal(err)
	}
	_ = read.Close()
	h := k.command("fault", "partition", v.node)
	h.Stdout = write
	err = h.Run()
	_ = write.Close()
	if err == nil || h.ProcessState.ExitCode() != 1 {
		k.t.Errorf("a fault that nobody heard of: %v", err)
	}
	if traces := k.traces(); len(traces) > 0 {
		k.t.Errorf("after a fault that nobody heard of: %s", strings.Join(traces, ", "))
	}
}

// leavesBehind kills the commands of four faults at once, and has up mend them.
func (k *tool) leavesBehind(v victim) {
	k.t.Helper()
	faults := []*held{
		k.fault("api-server", "--freeze"),
		k.fault("freeze-pod", v.pod.String()),
		k.fault("partition", fmt.Sprintf("node%d", v.other)),
	}
	for _, args := range [][]string{{"up"}, {"fault", "api-server"}} {
		if out, err := k.run(args...); err == nil || !strings.Contains(out, "is in force: end it first (process ") {
			k.t.Errorf("%v, while faults are in force: %v, %s", args, err, out)
		}
	}
	for _, h := range faults {
		h.killed()
	}
	out, err := k.run("status")
	for _, h := range faults {
		if err == nil || !strings.Contains(out, h.name+" was left behind") {
			k.t.Errorf("status does not tell of %s: %v, %s", h.name, err, out)
		}
	}
	k.fault("freeze-node", v.node).killed()
	k.must("up")
	if traces := k.traces(); len(traces) > 0 {
		k.t.Errorf("after up: %s", strings.Join(traces, ", "))
	}
	k.must("status")
}

// endsWithDown has down end a cluster in which nothing goes any more.
func (k *tool) endsWithDown(v victim) {
	k.t.Helper()
	k.fault("freeze-pod", v.pod.String()).killed()
	faults := []*held{
		k.fault("api-server"),
		k.fault("partition", v.node),
		k.fault("freeze-node", v.node),
	}
	k.must("down")
	for _, h := range faults {
		if err := h.Wait(); err != nil {
			k.t.Errorf("fault %s, when the cluster has ended: %v, %s", h.name, err, h.notes.String())
		}
	}
}
