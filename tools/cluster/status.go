//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

type statusCommand struct{}

func (statusCommand) Run(ctx context.Context, c *cluster) error {
	r, err := c.record()
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("no cluster: start one with `cluster up`")
	}
	v, err := versions(goMod)
	if err != nil {
		return err
	}
	fmt.Printf("Kubernetes %s, etcd %s, containerd %s, CoreDNS %s; %d nodes, kube-proxy with %s\n\n",
		v[kubernetesModule], v[etcdModule], v[containerdModule], v[corednsModule], r.Nodes, r.ProxyMode)
	// First, for a component that stands still is waited for.
	faults, err := c.faults()
	if err != nil {
		return err
	}
	for _, f := range faults {
		fmt.Println(f.state())
	}
	if len(faults) > 0 {
		fmt.Println()
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SANDBOX\tCOMPONENT\tPID\tSTATE")
	broken := 0
	for _, m := range r.Members {
		broken += m.show(ctx, table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case len(faults) > 0:
		return fmt.Errorf("%d not working, under %d faults", broken, len(faults))
	case broken > 0:
		return fmt.Errorf("%d not working: `cluster up` starts what has ended, `cluster logs` says why", broken)
	}

	return nil
}

// show adds the lines of a sandbox to the table, and returns how many things in it are
// broken. PIDs are the machine's, so that they can be signalled.
func (m member) show(ctx context.Context, table *tabwriter.Writer) int {
	if !m.alive() {
		fmt.Fprintf(table, "%s\t\t\tended\n", m.Name)

		return 1
	}
	fmt.Fprintf(table, "%s\t(process 1)\t%d\trunning\n", m.Name, m.PID)
	var components []sandbox.Component
	if err := m.ask(ctx, http.MethodGet, "/status", nil, &components); err != nil {
		fmt.Fprintf(table, "%s\t\t\t%v\n", m.Name, err)

		return 1
	}
	broken := 0
	pids := m.outerPIDs()
	for _, c := range components {
		state, pid := "running", ""
		if c.PID != 0 {
			pid = strconv.Itoa(pids[c.PID])
		}
		if c.Problem != "" {
			state = c.Problem
			broken++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.Name, c.Name, pid, state)
	}

	return broken
}

// outerPIDs are the machine's numbers of the processes of a sandbox, by the sandbox's own.
func (m member) outerPIDs() map[int]int {
	namespace := func(pid string) string {
		link, _ := os.Readlink("/proc/" + pid + "/ns/pid") // "" of one that has gone

		return link
	}
	own := namespace(strconv.Itoa(m.PID))
	out := map[int]int{}
	statuses, _ := filepath.Glob("/proc/[0-9]*/status") // the pattern is right
	for _, file := range statuses {
		outer := filepath.Base(filepath.Dir(file))
		if namespace(outer) != own {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // has gone
		}
		pid, err := strconv.Atoi(outer)
		if inner, ok := innerPID(string(text)); ok && err == nil {
			out[inner] = pid
		}
	}

	return out
}

// innerPID is the last number in the line "NSpid:" of /proc/PID/status: the one that the
// process has in its own namespace.
func innerPID(status string) (int, bool) {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "NSpid:")
		if fields := strings.Fields(rest); ok && len(fields) > 0 {
			pid, err := strconv.Atoi(fields[len(fields)-1])

			return pid, err == nil
		}
	}

	return 0, false
}

type logsCommand struct {
	Follow bool   `short:"f" help:"Go on as the log grows."`
	Name   string `arg:"" optional:"" help:"Log to show, such as node1-kubelet. Without it, the names of all."`
}

func (l logsCommand) Run(c *cluster) error {
	files, err := filepath.Glob(c.run("log", "*.log"))
	if err != nil {
		return err
	}
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".log"))
	}
	if len(names) == 0 {
		return errors.New("no cluster, so no logs")
	}
	if l.Name == "" {
		fmt.Println(strings.Join(names, "\n"))

		return nil
	}
	if !slices.Contains(names, l.Name) {
		return fmt.Errorf("log %q: not one of %s", l.Name, strings.Join(names, ", "))
	}
	program, args := "cat", []string{"cat"}
	if l.Follow {
		program, args = "tail", []string{"tail", "-n", "+1", "-f"}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return err
	}

	return unix.Exec(path, append(args, c.run("log", l.Name+".log")), os.Environ())
}
