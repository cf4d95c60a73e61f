//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// faultCommand does harm to the cluster. A fault holds as long as its command runs, which
// undoes it as it ends. Several can be in force at a time.
type faultCommand struct {
	KillPod   killPodCommand   `cmd:"" help:"Kill all processes of a pod's containers, once and without notice. The kubelet starts the containers again."`
	FreezePod freezePodCommand `cmd:"" help:"Let all processes of a pod stand still."`

	FreezeNode freezeNodeCommand `cmd:"" help:"Let a node stand still: kubelet, containerd, kube-proxy and all pods. Its network goes on."`
	Partition  partitionCommand  `cmd:"" help:"Cut a node and its pods off from the control plane and from the other nodes."`
	Loss       lossCommand       `cmd:"" help:"Lose a share of the packets to a node and its pods, and of those from them."`
	Delay      delayCommand      `cmd:"" help:"Delay each packet to a node and its pods, and each from them, where the kernel can."`
	APIServer  apiServerCommand  `cmd:"" name:"api-server" help:"Kill the API server, and with it what is elected by it: controller manager and scheduler; start them again at the end."`
}

type killPodCommand struct {
	Pod podName `arg:"" name:"namespace/pod" help:"The pod."`
}

// Run needs no end: the kubelet mends it.
func (k killPodCommand) Run(c *cluster) error {
	if err := needRoot(); err != nil {
		return err
	}
	r, err := c.running()
	if err != nil {
		return err
	}
	_, containers, err := r.pod(k.Pod)
	if err != nil {
		return err
	}
	if err := kill(containers); err != nil {
		return fmt.Errorf("kill-pod %s: %w", k.Pod, err)
	}
	_, err = fmt.Printf("in force: kill-pod %s\n", k.Pod)

	return err
}

type freezePodCommand struct {
	lasting

	Pod podName `arg:"" name:"namespace/pod" help:"The pod."`
}

func (f freezePodCommand) Run(ctx context.Context, c *cluster) error {
	return c.hold(ctx, f.lasting, func(r *record) (fault, error) {
		node, containers, err := r.pod(f.Pod)
		if err != nil {
			return fault{}, err
		}

		return fault{Kind: freezePod, Target: f.Pod.String(), Node: node, Cgroups: podCgroups(containers)}, nil
	})
}

type freezeNodeCommand struct {
	lasting

	Node string `arg:"" help:"The node, such as node1."`
}

func (f freezeNodeCommand) Run(ctx context.Context, c *cluster) error {
	return c.holdOnNode(ctx, f.lasting, f.Node, fault{Kind: freezeNode, Cgroups: []string{c.nodeCgroup(f.Node)}})
}

type partitionCommand struct {
	lasting

	Node string `arg:"" help:"The node, such as node1."`
}

func (p partitionCommand) Run(ctx context.Context, c *cluster) error {
	return c.holdOnNode(ctx, p.lasting, p.Node, fault{Kind: partition})
}

type lossCommand struct {
	lasting

	Node    string  `arg:"" help:"The node, such as node1."`
	Percent percent `arg:"" help:"How many percent of the packets, from 0.01 to 100."`
}

func (l lossCommand) Run(ctx context.Context, c *cluster) error {
	return c.holdOnNode(ctx, l.lasting, l.Node, fault{Kind: loss, Percent: float64(l.Percent)})
}

type delayCommand struct {
	lasting

	Node string `arg:"" help:"The node, such as node1."`
	By   span   `arg:"" name:"duration" help:"How much later each packet comes, such as 50ms. A round trip takes twice that."`
}

func (d delayCommand) Run(ctx context.Context, c *cluster) error {
	return c.holdOnNode(ctx, d.lasting, d.Node, fault{Kind: delay, Delay: time.Duration(d.By)})
}

type apiServerCommand struct {
	lasting

	Freeze bool `help:"Let it stand still instead: it accepts connections and does not answer."`
}

func (a apiServerCommand) Run(ctx context.Context, c *cluster) error {
	return c.hold(ctx, a.lasting, func(*record) (fault, error) {
		return fault{Kind: apiServer, Freeze: a.Freeze}, nil
	})
}

// holdOnNode holds a fault that is done to the node of that name.
func (c *cluster) holdOnNode(ctx context.Context, l lasting, name string, f fault) error {
	return c.hold(ctx, l, func(r *record) (fault, error) {
		node, err := r.nodeNamed(name)
		f.Target, f.Node = name, node

		return f, err
	})
}

// hold does a fault, says that it is in force, waits for its end and undoes it.
func (c *cluster) hold(ctx context.Context, l lasting, choose func(*record) (fault, error)) error {
	// Should nobody read any more what is said here, that must not keep us from undoing.
	signal.Ignore(syscall.SIGPIPE)
	// The signal that ends the fault must not end what does and undoes it.
	work := context.WithoutCancel(ctx)
	r, f, err := c.begin(work, choose)
	if err != nil {
		return err
	}
	_, heard := fmt.Println("in force:", f)
	if heard == nil {
		l.wait(ctx, os.Stdin)
	}
	if err := c.end(work, r, f); err != nil {
		return errors.Join(heard, fmt.Errorf("%s is not undone, `cluster up` does that: %w", f, err))
	}
	fmt.Fprintf(os.Stderr, "undone: %s\n", f)

	return heard
}

// lasting says when a fault ends, beside SIGINT and SIGTERM.
type lasting struct {
	For      span `help:"End it after this time, such as 30s." placeholder:"DURATION"`
	UntilEOF bool `name:"until-eof" help:"End it when standard input ends, which it does when a caller that holds its other end is killed."`
}

// wait returns at the fault's end.
func (l lasting) wait(ctx context.Context, input io.Reader) {
	if l.For > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(l.For))
		defer cancel()
		ctx = limited
	}
	eof := make(chan struct{})
	if l.UntilEOF {
		go func() { // it may read for as long as the process lives
			defer close(eof)
			_, _ = io.Copy(io.Discard, input) // an input that cannot be read has ended, too
		}()
	}
	select {
	case <-ctx.Done():
	case <-eof:
	}
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed, to harm what root started: sudo cluster fault …")
	}

	return nil
}

// podName is a pod's NAMESPACE/POD.
type podName struct{ namespace, name string }

func (p podName) String() string { return p.namespace + "/" + p.name }

// UnmarshalText is called by kong.
func (p *podName) UnmarshalText(text []byte) error {
	namespace, name, ok := strings.Cut(string(text), "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/ ") {
		return fmt.Errorf("%q, and it must be NAMESPACE/POD, such as default/web-0", text)
	}
	*p = podName{namespace, name}

	return nil
}

// percent is a share, good to a hundredth.
type percent float64

// UnmarshalText is called by kong.
func (p *percent) UnmarshalText(text []byte) error {
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(value >= 0.01 && value <= 100) {
		return fmt.Errorf("%q, and it must be a number from 0.01 to 100", text)
	}
	*p = percent(value)

	return nil
}

// span is a duration of at least a millisecond.
type span time.Duration

// UnmarshalText is called by kong.
func (s *span) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil || value < time.Millisecond || value > time.Hour {
		return fmt.Errorf("%q, and it must be a duration from 1ms to 1h, such as 30s", text)
	}
	*s = span(value)

	return nil
}
