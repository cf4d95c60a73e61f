// Package up shows overlays that run side by side: one page with the live pages of their clients, and buttons for the
// steps that scenarios are made of, each done to one overlay or to all of them at the same moment. A script does the
// same with POST /step.
//
// The client of each overlay is served, by a reverse proxy, at the root of a host name of its own: NAMESPACE.localhost,
// on the same port. One port is enough to see everything, through a tunnel too. Paths under one name would not do: a
// browser opens at most six HTTP/1.1 connections to a host, and every live page keeps one for its stream. Browsers take
// names under localhost for this machine without asking anybody (RFC 6761, section 6.3).
package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// Service is the service that steps are done to.
const Service = "rng"

// Environment is where the overlays run, as experiment.Environment has it.
type Environment interface {
	Kind() string
	Act(ctx context.Context, overlays []*render.Overlay, service string, phase scenario.Phase) (undo func() error, err error)
	Client(overlay *render.Overlay) (base string, httpClient *http.Client, err error)
	Lives(overlay *render.Overlay) []scorecard.Life
}

// Overlay is one that runs.
type Overlay struct {
	*render.Overlay
	// About says in a sentence what its strategy does; "" if nobody has said.
	About string
}

// Options are the settings of a board.
type Options struct {
	// Cannot has the steps that the environment does not know, and why.
	Cannot map[string]string
	// MaxPods is how many pods an overlay can have at once; those that are ending count.
	MaxPods int
	// Log hears of each step, for people.
	Log func(text string)
}

// Board is the page, and what stands behind it.
type Board struct {
	env      Environment
	options  Options
	overlays []*overlay
	handler  http.Handler
	proxies  *http.Transport

	acting sync.Mutex // steps come one after the other

	mu      sync.Mutex
	apiUp   func() error // ends that the API server is down; nil while it answers
	history []Entry
}

// New makes the board of overlays that have been started.
func New(ctx context.Context, env Environment, overlays []Overlay, options Options) (*Board, error) {
	b := &Board{env: env, options: options, proxies: &http.Transport{}}
	for _, o := range overlays {
		deployment, ok := o.Deployments[Service]
		if !ok || deployment.Spec.Replicas == nil {
			return nil, fmt.Errorf("overlay %s: its Deployment %s does not say how many replicas it has", o.Name, Service)
		}
		strategy, err := readStrategy(ctx, env, o.Overlay)
		if err != nil {
			return nil, fmt.Errorf("overlay %s: client: %w", o.Name, err)
		}
		b.overlays = append(b.overlays, &overlay{Overlay: o, strategy: strategy, replicas: int(*deployment.Spec.Replicas)})
	}
	// A page of somebody else's must not do steps behind the back of whoever looks at it.
	b.handler = http.NewCrossOriginProtection().Handler(http.HandlerFunc(b.route))

	return b, nil
}

// stopTimeout bounds the wait for requests when the board ends.
const stopTimeout = time.Second

// Serve answers on a listener, which it closes, until ctx is done.
func (b *Board) Serve(ctx context.Context, listener net.Listener) error {
	// The context of each request: streams have no other end.
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := &http.Server{
		Handler: b, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	defer b.proxies.CloseIdleConnections()
	var serving sync.WaitGroup
	failed := make(chan error, 1)
	serving.Go(func() { failed <- server.Serve(listener) })
	defer serving.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("the page: %w", err)
	case <-ctx.Done():
	}
	end()
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(patience); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the page: %w", err)
	}

	return server.Close()
}

// ServeHTTP answers one request.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.handler.ServeHTTP(w, r) }

// route tells the board from the clients by the name of the host. Other names are refused: they may be a stranger's
// that has been made to lead here (DNS rebinding).
func (b *Board) route(w http.ResponseWriter, r *http.Request) {
	host, _ := split(r.Host)
	namespace, isClient := strings.CutSuffix(host, ".localhost")
	switch {
	case isClient:
		for _, o := range b.overlays {
			if o.Namespace == namespace {
				b.proxy(w, r, o)

				return
			}
		}
		http.Error(w, fmt.Sprintf("host: %q is not accepted: no such overlay runs here", host), http.StatusNotFound)
	case host == "localhost" || net.ParseIP(host).IsLoopback():
		b.answer(w, r)
	default:
		http.Error(w, fmt.Sprintf("host: %q is not accepted: give localhost or 127.0.0.1", host), http.StatusMisdirectedRequest)
	}
}

// split divides a host from its port, which may be missing.
func split(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return strings.Trim(hostport, "[]"), ""
	}

	return host, port
}

// chosen are the overlays that a step names.
func (b *Board) chosen(name string) ([]*overlay, error) {
	if name == scenario.All {
		return b.overlays, nil
	}
	i := slices.IndexFunc(b.overlays, func(o *overlay) bool { return o.Name == name })
	if i < 0 {
		names := []string{scenario.All}
		for _, o := range b.overlays {
			names = append(names, o.Name)
		}

		return nil, fmt.Errorf("step: overlay: %q is not accepted: give %s", name, strings.Join(names, " or "))
	}

	return b.overlays[i : i+1], nil
}
