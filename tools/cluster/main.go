//go:build linux

// Command cluster runs a real Kubernetes on one Linux machine, in namespaces of its own,
// with no Docker and no registry, and does it harm for those who test what happens then.
// README.md tells what it needs and how it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

type cli struct {
	Home   string `env:"EVENKEEL_CLUSTER_HOME" help:"Folder for what is built (kept) and for the cluster's state (removed by down). Each folder can have a cluster of its own. Default: evenkeel-cluster in the user's cache folder." placeholder:"DIR"`
	Source string `env:"EVENKEEL_SOURCE" help:"Folder of the Evenkeel source tree. Default: the one around the current folder." placeholder:"DIR"`

	Build      buildCommand      `cmd:"" help:"Compile Kubernetes and what belongs to it. up does it when needed."`
	Up         upCommand         `cmd:"" help:"Start the cluster, or what has stopped of it."`
	Down       downCommand       `cmd:"" help:"End the cluster and remove all it left."`
	Status     statusCommand     `cmd:"" help:"Show the components. Exit status 1 when one does not work."`
	Load       loadCommand       `cmd:"" help:"Build images of the suite's services from the source tree and load them into every node."`
	Kubectl    kubectlCommand    `cmd:"" passthrough:"" help:"Run kubectl."`
	Kubeconfig kubeconfigCommand `cmd:"" help:"Print the path of the administrator's kubeconfig. It is of use inside the cluster's network: see exec."`
	Exec       execCommand       `cmd:"" help:"Run a command of this machine in the cluster's network, with its DNS and KUBECONFIG."`
	Forward    forwardCommand    `cmd:"" help:"Make a port of a Service reachable on 127.0.0.1 of this machine, until interrupted."`
	Logs       logsCommand       `cmd:"" help:"List the logs of the components, or show one."`
	Fault      faultCommand      `cmd:"" help:"Do harm to the cluster, for as long as the command runs."`
	Sandbox    sandboxCommand    `cmd:"" hidden:""`
}

func main() {
	var flags cli
	parsed := kong.Parse(&flags, kong.Name("cluster"),
		kong.Description("A real Kubernetes on this machine, in namespaces of its own: no Docker, no registry, nothing left behind."),
		kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	c, err := newCluster(flags.Home, flags.Source)
	if err == nil {
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = parsed.Run(c)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

// sandboxCommand is what up starts in new namespaces; it is not for people.
type sandboxCommand struct{}

func (sandboxCommand) Run() error { return sandbox.Main(os.Stdin) }

// cluster is one cluster: the one that has its folder at home.
type cluster struct {
	home, source string
}

func newCluster(home, source string) (*cluster, error) {
	if home == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("--home: not given, and %w", err)
		}
		home = filepath.Join(cache, "evenkeel-cluster")
	}
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, err
	}

	return &cluster{home: home, source: source}, nil
}

// The folders of a cluster. bin and images are built and kept; run is the cluster that
// runs, and is not there when there is none.
func (c *cluster) bin(elements ...string) string {
	return filepath.Join(append([]string{c.home, "bin"}, elements...)...)
}

func (c *cluster) images(elements ...string) string {
	return filepath.Join(append([]string{c.home, "images"}, elements...)...)
}

func (c *cluster) run(elements ...string) string {
	return filepath.Join(append([]string{c.home, "run"}, elements...)...)
}

func (c *cluster) adminConfig() string { return c.run("pki", "admin.kubeconfig") }

// lockPatience is how long a command waits for another. Most take but a moment.
const lockPatience = 5 * time.Second

// lock keeps other commands that change this cluster away. It ends with the process, also
// when that is killed.
func (c *cluster) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.home, 0o755); err != nil {
		return nil, err
	}
	folder, err := os.Open(c.home)
	if err != nil {
		return nil, err
	}
	err = within(lockPatience, func() error { return syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		_ = folder.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another cluster command is at work in %s: wait for it, or interrupt it", c.home)
		}

		return nil, fmt.Errorf("lock %s: %w", c.home, err)
	}

	return func() { _ = folder.Close() }, nil
}

// within tries something again and again until it succeeds, or for so long. The error is
// that of the last attempt.
func within(patience time.Duration, attempt func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := attempt()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}
