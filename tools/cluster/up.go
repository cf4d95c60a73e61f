//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
	"github.com/evenkeel/evenkeel/tools/cluster/pki"
	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

type upCommand struct {
	Nodes     int    `default:"2" help:"Number of nodes, 1 to 8."`
	ProxyMode string `default:"nftables" enum:"nftables,iptables" help:"How kube-proxy makes Services work: nftables or iptables."`
}

// Validate is called by kong.
func (u upCommand) Validate() error {
	if u.Nodes < 1 || u.Nodes > network.MaxNodes {
		return fmt.Errorf("--nodes: %d, and it must be 1 to %d", u.Nodes, network.MaxNodes)
	}

	return nil
}

// startLimit is how long a cluster may take from nothing to ready. It takes about 10 s.
const startLimit = 3 * time.Minute

func (u upCommand) Run(ctx context.Context, c *cluster) error {
	if err := preflight(u.ProxyMode); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()

	if r, err := c.running(); err == nil {
		if r.Nodes != u.Nodes || r.ProxyMode != u.ProxyMode {
			return fmt.Errorf("a cluster of %d nodes with %s is running: end it with `cluster down` first", r.Nodes, r.ProxyMode)
		}
		err := c.mend(ctx, r)
		if err == nil {
			err = c.start(ctx, r)
		}
		if _, broken := c.running(); err == nil || broken == nil || ctx.Err() != nil {
			return err
		}
		// It was ending just now.
	}
	// Whatever is there is not whole. What is left of it would be in the way.
	if err := c.teardown(); err != nil {
		return err
	}
	if _, err := c.build(ctx); err != nil {
		return err
	}
	err = c.create(ctx, u)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted: what was started has been removed")
	}

	return errors.Join(err, c.teardown())
}

// create makes a cluster where there is nothing.
func (c *cluster) create(ctx context.Context, u upCommand) error {
	names := []string{sandbox.ControlPlane}
	for k := 1; k <= u.Nodes; k++ {
		names = append(names, fmt.Sprintf("node%d", k))
	}
	err := pki.Write(pki.Request{
		Dir: c.run("pki"), Server: network.APIServer, Nodes: names[1:],
		// 127.0.0.1 is for `cluster forward`.
		Addresses: []net.IP{net.ParseIP(network.ControlPlane), net.ParseIP(network.Kubernetes), net.ParseIP("127.0.0.1")},
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.MkdirAll(c.run(name), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.run("log"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.run("resolv.conf"), []byte(resolvConf), 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(c.run(commandsFolder), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(c.bin("kube"), c.run(commandsFolder, "kubectl")); err != nil {
		return err
	}
	if err := c.makeCgroups(names[1:]); err != nil {
		return err
	}

	r := &record{Nodes: u.Nodes, ProxyMode: u.ProxyMode}
	var inputs []io.WriteCloser
	defer func() {
		for _, input := range inputs {
			_ = input.Close() // those that were told all have read it
		}
	}()
	for _, name := range names {
		m, input, err := c.spawn(name)
		if err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", name, err), c.write(r))
		}
		r.Members, inputs = append(r.Members, m), append(inputs, input)
	}
	// Should we be killed before this, the sandboxes see their input end, and end too;
	// after it, the next up or down finds them.
	if err := c.write(r); err != nil {
		return err
	}
	var nodes []int
	for _, m := range r.Members[1:] {
		nodes = append(nodes, m.PID)
	}
	if err := network.Connect(r.Members[0].PID, nodes); err != nil {
		return err
	}
	plugins, _ := pluginDir(exists)
	for k, name := range names {
		spec := sandbox.Spec{
			Name: name, Home: c.home, Node: k, Zone: fmt.Sprintf("zone-%d", k),
			ProxyMode: u.ProxyMode, Cgroup: c.nodeCgroup(name), PluginDir: plugins,
		}
		if err := json.NewEncoder(inputs[k]).Encode(spec); err != nil {
			return err
		}
	}

	return c.start(ctx, r)
}

// spawn starts the first process of a sandbox in new namespaces.
func (c *cluster) spawn(name string) (member, io.WriteCloser, error) {
	log, err := os.Create(c.run("log", name+".log"))
	if err != nil {
		return member{}, nil, err
	}
	defer func() { _ = log.Close() }()
	command := exec.Command("/proc/self/exe", "sandbox")
	command.Stdout, command.Stderr = log, log
	// As any process shows whose it is.
	command.Args = []string{"cluster " + name, "sandbox"}
	command.SysProcAttr = &syscall.SysProcAttr{
		// PID: killing the first process ends all. NS: its mounts are its own. NET: so is
		// its network. UTS: a host name. IPC: no shared memory with the machine.
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		// Ctrl-C is for us, not for it.
		Setsid: true,
	}
	input, err := command.StdinPipe()
	if err != nil {
		return member{}, nil, err
	}
	if err := command.Start(); err != nil {
		return member{}, nil, err
	}
	go func() { _ = command.Wait() }() // collects it, should it end while we are here
	started, err := startOf(command.Process.Pid)

	return member{Name: name, PID: command.Process.Pid, Started: started}, input, err
}

// start starts whatever does not run in the sandboxes, and waits until all of it works.
func (c *cluster) start(ctx context.Context, r *record) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

	// All at once: a node waits for the API server itself. The first that fails ends the
	// wait of the others.
	var all sync.WaitGroup
	failed := make(chan error, len(r.Members))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for i, m := range r.Members {
		all.Go(func() {
			err := m.listening(ctx)
			if err == nil {
				err = m.ask(ctx, http.MethodPost, "/start", nil, nil)
			}
			if err != nil {
				failed <- err
				stop(err)

				return
			}
			if i == 0 {
				say("control plane ready")
				// Early, so that it is scheduled as soon as there is a node.
				if err := c.installAddons(ctx, r); err != nil {
					failed <- err
					stop(err)
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}

	say("components ready")
	var nodes []string
	for _, m := range r.Members[1:] {
		nodes = append(nodes, "node/"+m.Name)
	}
	for _, wait := range [][]string{
		append([]string{"wait", "--for=create"}, nodes...),
		append([]string{"wait", "--for=condition=Ready"}, nodes...),
		{"-n", "kube-system", "rollout", "status", "deployment/coredns"},
	} {
		if err := c.kubectl(ctx, nil, append(wait, "--timeout=120s")...); err != nil {
			return err
		}
	}
	say("%d nodes and DNS ready", r.Nodes)

	return nil
}

//go:embed addons.yaml
var addons string

// installAddons has the cluster run its own DNS, and say how its Services work.
func (c *cluster) installAddons(ctx context.Context, r *record) error {
	versions, err := versions(goMod)
	if err != nil {
		return err
	}
	manifest, err := addonsManifest(corednsImage(versions), r.ProxyMode, r.Nodes)
	if err != nil {
		return err
	}

	return c.kubectl(ctx, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-")
}

func addonsManifest(image, proxyMode string, nodes int) (io.Reader, error) {
	t, err := template.New("addons.yaml").Parse(addons)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Image": image, "Replicas": min(2, nodes), "Address": network.DNS, "ProxyMode": proxyMode,
	})

	return &out, err
}

// kubectl runs kubectl inside the cluster's network and keeps its output for when it fails.
func (c *cluster) kubectl(ctx context.Context, input io.Reader, args ...string) error {
	command := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"--home", c.home, "kubectl"}, args...)...)
	command.Stdin = input
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}

	return nil
}
