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
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/clusterip"
	"github.com/evenkeel/evenkeel/tools/lab/local/controller"
	"github.com/evenkeel/evenkeel/tools/lab/local/dns"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/watchdog"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

// startTimeout bounds the wait for all pods of all overlays to be ready at first.
const startTimeout = time.Minute

// clientPort is where a client's admin port is, by the name that the manifests give it.
const clientPort = "http-admin"

// Options are the settings of a run.
type Options struct {
	// Binaries are the programs that stand for the images, from Binaries.
	Binaries map[string]string
	// Load is the arrival rate for each service, which the clients are given in
	// place of their manifest's.
	Load map[string]float64
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
	apiFault   fault
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
	fault   fault
	account string // the client's ServiceAccount
	token   string // file with its token; "" if the pod has none mounted
}

// fault is something that is down for as long as somebody wants it so.
type fault struct {
	mu    sync.Mutex
	wants int
}

// add begins or, with -1, ends a want and says whether the fault is on.
func (f *fault) add(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wants += n

	return f.wants > 0
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
func (e *Environment) Kind() string { return "local" }

// Failed is closed when a part has broken down.
func (e *Environment) Failed() <-chan struct{} { return e.failure }

// Err says which part broke down, after Failed.
func (e *Environment) Err() error { return e.err }

// Start puts the overlays' objects into the store, and waits until their pods are
// ready: first everything but the clients, then those, so that no client
// begins with nobody to call.
func (e *Environment) Start(ctx context.Context, overlays []*render.Overlay, service string, replicas int) error {
	if len(overlays) > maxOverlays {
		return fmt.Errorf("%d overlays are too many at once: up to %d are accepted", len(overlays), maxOverlays)
	}
	if err := checkAddresses(e.block, len(overlays)); err != nil {
		return err
	}
	for i, o := range overlays {
		if err := e.prepare(ctx, i+1, o); err != nil {
			return fmt.Errorf("overlay %s: %w", o.Name, err)
		}
	}
	for _, clients := range []bool{false, true} {
		var names []name
		for _, o := range overlays {
			for _, d := range o.Deployments {
				if (d.Name == "client") != clients {
					continue
				}
				d = d.DeepCopy()
				if d.Name == service {
					d.Spec.Replicas = new(int32(replicas))
				}
				e.setLoad(d)
				if err := e.store.Put(d); err != nil {
					return fmt.Errorf("overlay %s: %w", o.Name, err)
				}
				names = append(names, name{o.Namespace, d.Name})
			}
		}
		if err := e.awaitReady(ctx, names); err != nil {
			return err
		}
	}

	return nil
}

// prepare sets up what one overlay has of its own and stores its objects, all but
// the Deployments.
func (e *Environment) prepare(ctx context.Context, number int, o *render.Overlay) error {
	ns := &namespace{number: number, addrs: newPodAddresses(e.block, number)}
	server, err := dns.Listen(context.WithoutCancel(ctx), e.store, o.Namespace, e.block.dns(number), dns.Options{})
	if err != nil {
		return err
	}
	ns.dns = server
	e.namespaces[o.Namespace] = ns

	clusterIPs := 0
	for _, object := range o.Objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			continue // in their turn
		case *corev1.Service:
			// As the API server does when a Service is created.
			if object.Spec.ClusterIP == "" {
				if clusterIPs == maxClusterIPs {
					return fmt.Errorf("more than %d Services with a ClusterIP", maxClusterIPs)
				}
				ip := e.block.clusterIP(number, clusterIPs).String()
				object.Spec.ClusterIP, object.Spec.ClusterIPs = ip, []string{ip}
				clusterIPs++
			}
		}
		if err := e.put(object); err != nil {
			return err
		}
	}

	return e.issueToken(o, ns)
}

// put stores an object, unless it is of a kind that nothing here acts on.
func (e *Environment) put(object runtime.Object) error {
	if _, ok := object.(*policyv1.PodDisruptionBudget); ok {
		return nil // nobody evicts here
	}
	stored, ok := object.(apiserver.Object)
	if !ok {
		return fmt.Errorf("%T is not an object of the API", object)
	}

	return e.store.Put(stored)
}

// issueToken writes the token of the client's ServiceAccount, if its pod has it
// mounted.
func (e *Environment) issueToken(o *render.Overlay, ns *namespace) error {
	spec := o.Deployments["client"].Spec.Template.Spec
	if spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken {
		return nil
	}
	ns.account = spec.ServiceAccountName
	ns.token = filepath.Join(e.folder.Path, "token-"+o.Namespace)

	return os.WriteFile(ns.token, []byte(e.api.IssueToken(o.Namespace, spec.ServiceAccountName)), 0o600)
}

// setLoad gives a client the scenario's rates.
func (e *Environment) setLoad(d *appsv1.Deployment) {
	if d.Name != "client" {
		return
	}
	for service, rate := range e.options.Load {
		set(&d.Spec.Template.Spec.Containers[0], rateVariable(service), strconv.FormatFloat(rate, 'g', -1, 64))
	}
}

// set sets an environment variable of a container.
func set(c *corev1.Container, variable, value string) {
	for i := range c.Env {
		if c.Env[i].Name == variable {
			c.Env[i] = corev1.EnvVar{Name: variable, Value: value}

			return
		}
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: variable, Value: value})
}

// name is a Deployment's.
type name struct{ namespace, name string }

// awaitReady waits until every Deployment has all of its pods ready.
func (e *Environment) awaitReady(ctx context.Context, names []name) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not all pods were ready in %v", startTimeout))
	defer cancel()
	for {
		changed := e.store.Changed()
		var waiting *name
		for _, n := range names {
			d, ok := apiserver.Get[*appsv1.Deployment](e.store, n.namespace, n.name)
			if !ok || d.Status.ReadyReplicas < *d.Spec.Replicas {
				waiting = &n

				break
			}
		}
		if waiting == nil {
			return nil
		}
		select {
		case <-changed:
		case <-e.failure:
			return e.err
		case <-ctx.Done():
			return fmt.Errorf("%s/%s: %w%s", waiting.namespace, waiting.name, context.Cause(ctx), e.lastWords(*waiting))
		}
	}
}

// newAddress gives a pod its address.
func (e *Environment) newAddress(namespace string) (netip.Addr, func(), error) {
	ns, ok := e.namespaces[namespace]
	if !ok {
		return netip.Addr{}, nil, fmt.Errorf("no namespace %q", namespace)
	}

	return ns.addrs.take()
}

// Client is the admin port of an overlay's client.
func (e *Environment) Client(o *render.Overlay) (string, *http.Client, error) {
	for _, p := range apiserver.List[*corev1.Pod](e.store, o.Namespace) {
		for _, c := range p.Spec.Containers {
			for _, port := range c.Ports {
				if c.Name == "client" && port.Name == clientPort {
					host := net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))

					return "http://" + host, &http.Client{}, nil
				}
			}
		}
	}

	return "", nil, fmt.Errorf("no pod with a container %q and a port %q", "client", clientPort)
}

// podFolder has the pods' logs: NAMESPACE/NAME.log.
func (e *Environment) podFolder() string { return filepath.Join(e.folder.Path, "pods") }

// CopyLogs copies the logs of all pods to a folder.
func (e *Environment) CopyLogs(to string) error {
	logs, err := filepath.Glob(filepath.Join(e.podFolder(), "*", "*.log"))
	if err != nil {
		return err
	}
	for _, from := range logs {
		relative, err := filepath.Rel(e.podFolder(), from)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			return err
		}
	}

	return nil
}

// lastWords are what the pods of a Deployment said last, for the error that they are
// not ready.
func (e *Environment) lastWords(n name) string {
	for _, p := range apiserver.List[*corev1.Pod](e.store, n.namespace) {
		for _, status := range p.Status.ContainerStatuses {
			if state := status.LastTerminationState.Terminated; status.Name == n.name && state != nil {
				return fmt.Sprintf("; %s exited with %d: %s", p.Name, state.ExitCode, state.Message)
			}
		}
	}

	return ""
}

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
