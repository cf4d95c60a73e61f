// Package local is the environment without a cluster: no root, no Docker, one machine.
//
// The programs are real: rng, geoip and client run as processes, each pod on an
// address of its own in 127.0.0.0/8, configured by the overlay's manifests as a
// kubelet would, talking over real TCP. Signals, probes and drains are real.
//
// Four parts of Kubernetes are stood in for, each in a package that says how far
// it goes:
//
//   - apiserver: list and watch over HTTP, with the overlay's RBAC
//   - dns: the cluster's DNS, as CoreDNS answers
//   - clusterip: kube-proxy, one random endpoint for each connection
//   - controller and pod: the Deployment and EndpointSlice controllers and the kubelet
//
// What is not here: nodes (there is one, the machine), network delay between pods
// (loopback has none), CPU and memory limits, NetworkPolicies, PodDisruptionBudgets.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/clusterip"
	"github.com/evenkeel/evenkeel/tools/lab/local/controller"
	"github.com/evenkeel/evenkeel/tools/lab/local/dns"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/watchdog"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

// Options are the settings of a run.
type Options struct {
	// Binaries are the programs that stand for the images, from Binaries.
	Binaries map[string]string
	// ClientEnv are environment variables that the clients are given in place of their
	// manifest's.
	ClientEnv map[string]string
	// Log hears, for people, of what happens that the results do not show.
	Log func(text string)
}

// Environment is the local environment. Close ends it.
type Environment struct {
	options Options
	folder  *watchdog.Folder
	dog     *watchdog.Watchdog
	block   block
	store   *apiserver.Store
	api     *apiserver.Server
	http    *http.Server
	deploy  *controller.Controller

	namespaces map[string]*namespace
	cancel     context.CancelFunc
	parts      sync.WaitGroup
	failure    chan struct{}
	failOnce   sync.Once
	err        error
	closeOnce  sync.Once
}

// namespace is what one overlay has of its own.
type namespace struct {
	number  int
	addrs   *podAddresses
	dns     *dns.Server
	account string // the client's ServiceAccount
	token   string // file with its token; "" if the pod has none mounted
}

// Binaries finds the services' binaries in a folder.
func Binaries(dir string) (map[string]string, error) {
	found := map[string]string{}
	for _, name := range append([]string{"client"}, scenario.Services...) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("no binary %s: run `make build`, or give --bin-dir", path)
		}
		found[name] = path
	}

	return found, nil
}

// New claims addresses and starts what all overlays share. Whatever an earlier lab
// that was killed has left in the temporary folder is removed.
func New(ctx context.Context, o Options) (*Environment, error) {
	if _, err := watchdog.Sweep(os.TempDir()); err != nil {
		return nil, err
	}

	e := &Environment{
		options: o, store: apiserver.NewStore(), namespaces: map[string]*namespace{}, failure: make(chan struct{}),
	}
	b, listener, err := claimBlock()
	if err != nil {
		return nil, err
	}
	e.block = b
	if e.folder, err = watchdog.TempDir(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	exe, err := os.Executable()
	if err == nil {
		e.dog, err = watchdog.Start(ctx, exe, []string{"watchdog"}, e.folder.Path)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close(), e.folder.Remove())
	}

	// The parts outlive ctx: Close ends them in order.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.deploy = controller.New(e.store, controller.Options{Kubelet: kubelet.Options{
		Binaries: o.Binaries, NewAddress: e.newAddress, Env: e.environment,
		Folder: e.podFolder(), SysProcAttr: e.dog.SysProcAttr(),
	}})
	e.api = apiserver.NewServer(e.store, apiserver.Options{})
	e.http = &http.Server{Handler: e.api, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	e.part("API server", func() error {
		if err := e.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}

		return nil
	})
	e.part("deployment controller", func() error { return e.deploy.Run(running) })
	e.part("cluster IPs", func() error { return clusterip.Run(running, e.store, clusterip.Options{}) })
	e.part("watchdog", func() error {
		select {
		case <-e.dog.Done():
			return errors.New("it ended before the lab did")
		case <-running.Done():
			return nil
		}
	})

	return e, nil
}

// part runs a part of the environment. If it fails, so does the environment.
func (e *Environment) part(name string, run func() error) {
	e.parts.Go(func() {
		if err := run(); err != nil && !errors.Is(err, context.Canceled) {
			e.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (e *Environment) fail(err error) {
	e.failOnce.Do(func() {
		e.err = err
		close(e.failure)
	})
}

// Kind is "local".
const Kind = "local"

// Kind is "local".
func (e *Environment) Kind() string { return Kind }

// Cluster is none.
func (e *Environment) Cluster(context.Context) (*results.Cluster, error) { return nil, nil }

// Notes are none.
func (e *Environment) Notes() []string { return nil }

// Failed is closed when a part has broken down.
func (e *Environment) Failed() <-chan struct{} { return e.failure }

// Err says which part broke down, after Failed.
func (e *Environment) Err() error { return e.err }

// Close ends every process and removes the run's folder. It may be called again.
func (e *Environment) Close() {
	e.closeOnce.Do(func() {
		e.cancel() // the controller ends all pods before it returns
		for _, ns := range e.namespaces {
			e.options.complain("dns", ns.dns.Close())
		}
		e.api.Close()
		e.options.complain("API server", e.http.Close())
		e.parts.Wait()
		e.dog.Stop()
		e.options.complain("temporary folder", e.folder.Remove())
	})
}

// complain logs what went wrong where nothing can be done about it.
func (o *Options) complain(what string, err error) {
	if err != nil {
		o.Log(what + ": " + err.Error())
	}
}
