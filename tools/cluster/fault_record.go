//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

// The kinds of fault that last, by the names of their commands.
const (
	freezePod  = "freeze-pod"
	freezeNode = "freeze-node"
	partition  = "partition"
	loss       = "loss"
	delay      = "delay"
	apiServer  = "api-server"
)

// fault is one that lasts. It is written down before it is done, so that it can be undone
// whatever becomes of the command that did it.
type fault struct {
	// Kind and Target, a node or a pod, are what makes it another than the rest.
	Kind   string `json:"kind"`
	Target string `json:"target,omitempty"`
	// Node counts from 1; 0 is the control plane.
	Node int `json:"node"`
	// Keeper is the command that keeps it in force.
	Keeper member `json:"keeper"`

	// Cgroups stand still: of freezePod and freezeNode.
	Cgroups []string      `json:"cgroups,omitempty"`
	Percent float64       `json:"percent,omitempty"` // of loss
	Delay   time.Duration `json:"delay,omitempty"`   // of delay
	Freeze  bool          `json:"freeze,omitempty"`  // of apiServer
}

// String is the fault as it was asked for.
func (f fault) String() string {
	words := []string{f.Kind}
	if f.Target != "" {
		words = append(words, f.Target)
	}
	switch {
	case f.Percent > 0:
		words = append(words, fmt.Sprint(f.Percent))
	case f.Delay > 0:
		words = append(words, f.Delay.String())
	case f.Freeze:
		words = append(words, "--freeze")
	}

	return strings.Join(words, " ")
}

// do brings the fault about. What it did before it failed is for undo.
func (f fault) do(ctx context.Context, r *record) error {
	m := r.Members[f.Node]
	switch f.Kind {
	case freezePod:
		return freeze(f.Cgroups)
	case freezeNode:
		if err := m.stop(); err != nil {
			return err
		}

		return freeze(f.Cgroups)
	case partition:
		return f.cable(r).Lose(ctx, partition, of10000(100))
	case loss:
		return f.cable(r).Lose(ctx, loss, of10000(f.Percent))
	case delay:
		return f.cable(r).Delay(f.Delay)
	case apiServer:
		return m.loseAPIServer(ctx, f.Freeze)
	}

	return fmt.Errorf("fault %q: not known to this version", f.Kind)
}

// undo undoes the fault, or whatever part of it there is.
func (f fault) undo(ctx context.Context, r *record) error {
	m := r.Members[f.Node]
	switch f.Kind {
	case freezePod:
		return thaw(f.Cgroups)
	case freezeNode:
		return errors.Join(thaw(f.Cgroups), m.signal(unix.SIGCONT))
	case partition, loss:
		return f.cable(r).Restore(ctx, f.Kind)
	case delay:
		return f.cable(r).Undelay()
	case apiServer:
		if err := m.signal(unix.SIGCONT); err != nil {
			return err
		}

		return m.ask(ctx, http.MethodPost, "/start", nil, nil)
	}

	return fmt.Errorf("fault %q: not known to this version", f.Kind)
}

func (f fault) cable(r *record) network.Cable {
	return network.Cable{ControlPlane: r.Members[0].PID, Node: r.Members[f.Node].PID, K: f.Node}
}

// of10000 is a share in percent, in hundredths of it.
func of10000(percent float64) int { return int(math.Round(percent * 100)) }

// file is where the fault is written down.
func (c *cluster) file(f fault) string {
	name := f.Kind
	if f.Target != "" {
		name += "_" + strings.ReplaceAll(f.Target, "/", "_") // which no name in Kubernetes has
	}

	return c.run("faults", name+".json")
}

// faults are all that are written down.
func (c *cluster) faults() ([]fault, error) {
	files, err := filepath.Glob(c.run("faults", "*.json"))
	if err != nil {
		return nil, err
	}
	var out []fault
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just been undone
		}
		if err != nil {
			return nil, err
		}
		var f fault
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, f)
	}

	return out, nil
}

// state says whether a fault is in force, and what to do about it.
func (f fault) state() string {
	if f.Keeper.alive() {
		return fmt.Sprintf("%s is in force: end it first (process %d)", f, f.Keeper.PID)
	}

	return fmt.Sprintf("%s was left behind by a command that was killed: `cluster up` undoes it", f)
}

// begin writes a fault down and does it.
func (c *cluster) begin(ctx context.Context, choose func(*record) (fault, error)) (*record, fault, error) {
	if err := needRoot(); err != nil {
		return nil, fault{}, err
	}
	unlock, err := c.lock()
	if err != nil {
		return nil, fault{}, err
	}
	defer unlock()
	r, err := c.running()
	if err != nil {
		return nil, fault{}, err
	}
	f, err := choose(r)
	if err != nil {
		return nil, fault{}, err
	}
	all, err := c.faults()
	if err != nil {
		return nil, fault{}, err
	}
	for _, other := range all {
		if c.file(other) == c.file(f) {
			return nil, fault{}, errors.New(other.state())
		}
	}
	started, err := startOf(os.Getpid())
	if err != nil {
		return nil, fault{}, err
	}
	f.Keeper = member{Name: f.Kind, PID: os.Getpid(), Started: started}
	if err := os.MkdirAll(c.run("faults"), 0o755); err != nil {
		return nil, fault{}, err
	}
	if err := replace(c.file(f), f); err != nil {
		return nil, fault{}, err
	}
	if err := f.do(ctx, r); err != nil {
		return nil, fault{}, errors.Join(fmt.Errorf("%s: %w", f, err), c.end(ctx, r, f))
	}

	return r, f, nil
}

// end undoes a fault and strikes it off. It takes no lock, so that nothing delays the end.
func (c *cluster) end(ctx context.Context, r *record, f fault) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := f.undo(ctx, r)
	if r.whole() != nil {
		return nil // the cluster has ended, or is about to, and the fault with it
	}
	if err != nil {
		return err
	}
	err = os.Remove(c.file(f))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}

	return err
}

// mend undoes faults that were left behind. One that is in force is its keeper's business.
func (c *cluster) mend(ctx context.Context, r *record) error {
	all, err := c.faults()
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Keeper.alive() {
			return errors.New(f.state())
		}
	}
	for _, f := range all {
		if err := c.end(ctx, r, f); err != nil {
			return fmt.Errorf("undo %s: %w", f, err)
		}
		fmt.Fprintf(os.Stderr, "undone: %s, which was left behind\n", f)
	}

	return nil
}

// endKeepers ends the commands that keep faults of a cluster that has ended in force.
func (c *cluster) endKeepers() {
	all, _ := c.faults() // what cannot be read is removed with the rest
	for _, f := range all {
		keeper := f.Keeper.open()
		if keeper == nil {
			continue
		}
		if unix.PidfdSendSignal(int(keeper.Fd()), unix.SIGTERM, nil, 0) == nil {
			ended(keeper, 5*time.Second)
		}
		_ = keeper.Close()
	}
}
