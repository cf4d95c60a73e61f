// Package cluster is the environment with a cluster: whatever Kubernetes the kubeconfig points to.
//
// Each overlay is applied (server-side apply) into its namespace, which the lab makes and deletes. Load comes from the
// client in the cluster, and what it measured is read off its report by way of the API server, which the RPCs never
// pass. The lives of pods come from a watch on pods and EndpointSlices: a moment is that at which the watch told of it,
// by the clock of this machine, while the client's moments are by the clock of its node. Where those are not the
// same machine, times between the two are as good as the clocks agree.
//
// Steps that Kubernetes itself has no request for (to freeze a pod, to cut a node off) need a tool that starts such
// clusters, tools/cluster.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// Kind is "kubernetes".
const Kind = "kubernetes"

// Options are the settings of a run.
type Options struct {
	// Context is the kubeconfig's context to use; "" for the current one.
	Context string
	// Tool is the path of tools/cluster's program, if that has started the cluster; "" if not.
	Tool string
	// ClientEnv are environment variables that the clients are given in place of their manifest's.
	ClientEnv map[string]string
	// Keep leaves the overlays in the cluster.
	Keep bool
	// Log hears, for people, of what happens that the results do not show.
	Log func(text string)
}

// Environment is a cluster. Close gives it back as it was.
type Environment struct {
	options Options
	api     *api
	context string

	clientNode string // the hostname of the node that clients are to be on; "" for any

	watching sync.WaitGroup
	cancel   context.CancelFunc
	running  context.Context

	mu       sync.Mutex
	overlays []*render.Overlay
	watches  map[string]*watch // by namespace
	notes    []string
}

// New connects to the cluster, and puts right what a lab that was killed has left of nodes and DNS.
func New(ctx context.Context, o Options) (*Environment, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	name := o.Context
	if name == "" {
		name = raw.CurrentContext
	}
	e, err := newEnvironment(ctx, o, config, name)
	if err != nil {
		return nil, fmt.Errorf("cluster %s (%s): %w", name, config.Host, err)
	}

	return e, nil
}

func newEnvironment(ctx context.Context, o Options, config *rest.Config, name string) (*Environment, error) {
	api, err := newAPI(config, o.Log)
	if err != nil {
		return nil, err
	}
	// Watches outlive ctx: Close ends them when everything is deleted.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &Environment{
		options: o, api: api, context: name, running: running, cancel: cancel, watches: map[string]*watch{},
	}
	if err := e.mend(ctx); err != nil {
		cancel()

		return nil, err
	}
	o.Log(fmt.Sprintf("on the cluster %s (%s)", name, config.Host))

	return e, nil
}

// Kind is "kubernetes".
func (e *Environment) Kind() string { return Kind }

// Failed is never closed: a cluster that does not answer shows in the results.
func (e *Environment) Failed() <-chan struct{} { return nil }

// Err is nil.
func (e *Environment) Err() error { return nil }

// Notes are what a reader of the results should know.
func (e *Environment) Notes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.notes
}

// Client is an overlay's client, by way of the API server.
func (e *Environment) Client(o *render.Overlay) (string, *http.Client, error) {
	client, err := rest.HTTPClientFor(e.api.config)
	if err != nil {
		return "", nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(e.api.config)
	if err != nil {
		return "", nil, err
	}
	base = base.JoinPath("api/v1/namespaces", o.Namespace, "services/client:http-admin/proxy")

	return base.String(), client, nil
}

// Lives are an overlay's pods, those that are gone too.
func (e *Environment) Lives(o *render.Overlay) []scorecard.Life {
	if w := e.watch(o.Namespace); w != nil {
		return w.lives.all()
	}

	return nil
}

// watch is what is watched of a namespace; nil before Start.
func (e *Environment) watch(namespace string) *watch {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.watches[namespace]
}

// Usage is not seen: an API server and a DNS server do not say who asked.
func (e *Environment) Usage(*render.Overlay) scorecard.Usage { return scorecard.Usage{} }

// closeTimeout bounds how long the overlays may take to be deleted.
const closeTimeout = 2 * time.Minute

// Close deletes the overlays, waits until they are gone, and says so if they are not.
func (e *Environment) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.running), closeTimeout)
	defer cancel()
	var errs []error
	e.mu.Lock()
	overlays := e.overlays
	e.overlays = nil
	e.mu.Unlock()
	if !e.options.Keep {
		errs = append(errs, e.delete(ctx, overlays))
	}
	e.cancel()
	e.watching.Wait()

	return errors.Join(errs...)
}

// delete deletes what apply has made, all of it at once, and waits until it is gone.
func (e *Environment) delete(ctx context.Context, overlays []*render.Overlay) error {
	var errs []error
	for _, o := range overlays {
		for _, object := range o.Objects {
			if !namespaced(object) {
				errs = append(errs, e.api.delete(ctx, object, metav1.DeleteOptions{}))
			}
		}
		errs = append(errs, e.api.delete(ctx, namespaceOf(o), metav1.DeleteOptions{}))
	}
	for _, o := range overlays {
		errs = append(errs, e.gone(ctx, o.Namespace))
	}

	return errors.Join(errs...)
}

// gone waits until a namespace is.
func (e *Environment) gone(ctx context.Context, name string) error {
	return e.api.until(ctx, "namespace "+name+" is not gone", func(ctx context.Context) (bool, error) {
		namespace := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		found, err := e.api.get(ctx, &namespace)

		return err == nil && !found, err
	})
}
