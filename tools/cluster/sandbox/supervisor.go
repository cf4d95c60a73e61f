//go:build linux

package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"
)

// component is a program of a sandbox.
type component struct {
	name string
	args []string
	// ready is nil when the component does what others need it for.
	ready func(context.Context) error
	// before is waited for first.
	before func(context.Context) error
	// after is done each time it has been started and is ready.
	after func(context.Context, *supervisor) error
}

// Component is what the outside is told about one.
type Component struct {
	Name string `json:"name"`
	// PID is that inside the sandbox; 0 when it does not run.
	PID int `json:"pid"`
	// Problem is why it does not do its work; "" when it does.
	Problem string `json:"problem"`
}

// supervisor starts components when it is told to. It does not start one again that has
// ended: tests kill components, and decide themselves how long they stay away.
type supervisor struct {
	spec       Spec
	components []component
	processes  *processes

	starting  sync.Mutex          // one start at a time
	completed map[string]*process // what after was done for; of the one who starts

	mu    sync.Mutex
	state map[string]*process
}

func newSupervisor(spec Spec, components []component) *supervisor {
	return &supervisor{
		spec:       spec,
		components: components,
		processes:  &processes{running: map[int]*process{}},
		completed:  map[string]*process{},
		state:      map[string]*process{},
	}
}

// handler answers on the sandbox's loopback address.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, r *http.Request) {
		reply(w, s.start(r.Context()))
	})
	mux.HandleFunc("POST /import", func(w http.ResponseWriter, r *http.Request) {
		reply(w, s.importImages(r.Context(), r.URL.Query()["image"]...))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(s.status(r.Context())) // to one who has gone
	})

	return mux
}

func reply(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// start starts, in order, the components that do not run, and returns when all of them
// are ready.
func (s *supervisor) start(ctx context.Context) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	for _, c := range s.components {
		if err := s.startOne(ctx, c); err != nil {
			return fmt.Errorf("%s of %s: %w\n%s", c.name, s.spec.Name, err, s.lastWords(c.name))
		}
	}

	return nil
}

// lastWords are the last lines of a component's log.
func (s *supervisor) lastWords(name string) string {
	const lines = 10
	text, err := os.ReadFile(logFile(s.spec.Name, name))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")

	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (s *supervisor) startOne(ctx context.Context, c component) error {
	running := s.process(c.name)
	if running == nil || !running.alive() {
		if c.before != nil {
			if err := until(ctx, nil, c.before); err != nil {
				return err
			}
		}
		var err error
		if running, err = s.processes.start(s.spec.Name, c.name, path.Join(bin, "kube"), c.args...); err != nil {
			return err
		}
		s.mu.Lock()
		s.state[c.name] = running
		s.mu.Unlock()
	}
	if err := until(ctx, running, c.ready); err != nil {
		return err
	}
	// By process, since whoever waited for it may have been cut short before this.
	if c.after == nil || s.completed[c.name] == running {
		return nil
	}
	if err := c.after(ctx, s); err != nil {
		return err
	}
	s.completed[c.name] = running

	return nil
}

func (s *supervisor) process(name string) *process {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.state[name]
}

func (s *supervisor) status(ctx context.Context) []Component {
	out := make([]Component, 0, len(s.components))
	for _, c := range s.components {
		one := Component{Name: c.name}
		switch p := s.process(c.name); {
		case p == nil:
			one.Problem = "not started"
		case !p.alive():
			one.Problem = "ended: " + p.ending()
		default:
			one.PID = p.pid
			if err := attempt(ctx, c.ready); err != nil {
				one.Problem = err.Error()
			}
		}
		out = append(out, one)
	}

	return out
}

// importImages loads tarballs of the folder images into containerd.
func (s *supervisor) importImages(ctx context.Context, tarballs ...string) error {
	for _, tarball := range tarballs {
		p, err := s.processes.start(s.spec.Name, "ctr", path.Join(bin, "kube"),
			"-n", "k8s.io", "images", "import", path.Join(images, path.Base(tarball)))
		if err != nil {
			return err
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.end != 0 {
			return fmt.Errorf("import %s: %s, see the log %s-ctr", tarball, p.ending(), s.spec.Name)
		}
	}

	return nil
}

// How often a condition is looked at, and how long a look may take.
const (
	interval = 50 * time.Millisecond
	patience = 2 * time.Second
)

// until waits for a condition. It gives up when the process that should bring it about,
// if any, has ended, or with ctx; the error then says what the condition lacked.
func until(ctx context.Context, p *process, condition func(context.Context) error) error {
	var ended <-chan struct{}
	if p != nil {
		ended = p.done
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := attempt(ctx, condition)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("ended: %s", p.ending())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-ticker.C:
		}
	}
}

func attempt(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	return condition(ctx)
}
