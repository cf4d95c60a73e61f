// Package experiment runs one scenario over several overlays at once and measures
// them. Where they run is an Environment's business: the scenario, the measurements
// and the results are the same everywhere.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// Environment is where overlays run: the local stand-ins or a cluster.
type Environment interface {
	// Kind is "local" or "kubernetes".
	Kind() string
	// Cluster describes the cluster; nil where there is none.
	Cluster(ctx context.Context) (*results.Cluster, error)
	// Start brings every overlay up, each with so many replicas of the service, and
	// returns when all of their pods are ready.
	Start(ctx context.Context, overlays []*render.Overlay, service string, replicas int) error
	// Act does what a phase says, to all overlays at once, and returns a function that ends what has an end; also if
	// it fails.
	Act(ctx context.Context, overlays []*render.Overlay, service string, phase scenario.Phase) (undo func() error, err error)
	// Client is the HTTP address of an overlay's client, such as "http://127.1.2.3:8080",
	// and a client that reaches it.
	Client(overlay *render.Overlay) (base string, httpClient *http.Client, err error)
	// Lives are an overlay's pods, those that are gone too.
	Lives(overlay *render.Overlay) []scorecard.Life
	// Usage is what an overlay has asked of the cluster so far.
	Usage(overlay *render.Overlay) scorecard.Usage
	// Notes are what a reader should know of what the environment did.
	Notes() []string
	// Failed is closed when the environment has broken down; Err says why.
	Failed() <-chan struct{}
	Err() error
}

// Progress hears how the experiment goes.
type Progress interface {
	// Step says what is happening now.
	Step(text string)
	// Phase says that a phase has begun.
	Phase(index int, phase scenario.Phase)
	// Count says how many RPCs there have been, and how many failed, by overlay.
	Count(overlay string, rpcs, failed int64)
}

// Experiment is one scenario over some overlays.
type Experiment struct {
	Environment Environment
	Scenario    *scenario.Scenario
	Overlays    []*render.Overlay
	Progress    Progress
}

const (
	// warmUp bounds the wait for the first RPC of every overlay.
	warmUp = 30 * time.Second
	// settle is how long frames of the last phase may be late: the client's RPC
	// timeout, and some.
	settle = 2 * time.Second
	// tolerable is how late a phase may begin.
	tolerable = 100 * time.Millisecond
)

// Run brings the overlays up, runs the scenario and works the results out. The
// caller closes the environment.
func (e *Experiment) Run(ctx context.Context) (*results.Results, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-e.Environment.Failed():
			cancel(e.Environment.Err())
		case <-ctx.Done():
		}
	})

	e.Progress.Step("starting the overlays")
	if err := e.Environment.Start(ctx, e.Overlays, e.Scenario.Service, e.Scenario.Replicas); err != nil {
		return nil, because(ctx, err)
	}
	listeners := make([]*listener, len(e.Overlays))
	var listening sync.WaitGroup
	defer listening.Wait()
	hearing, hush := context.WithCancel(ctx)
	defer hush()
	for i, o := range e.Overlays {
		l, err := newListener(e.Environment, o, e.Progress)
		if err != nil {
			return nil, err
		}
		listeners[i] = l
		listening.Go(func() { l.listen(hearing) })
	}
	e.Progress.Step("waiting for the first RPCs")
	for _, l := range listeners {
		if err := l.awaitFirst(ctx, warmUp); err != nil {
			return nil, because(ctx, err)
		}
	}

	load := startMeter()
	phases, usage, err := e.phases(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}
	e.Progress.Step("waiting for the last RPCs")
	if err := sleep(ctx, settle); err != nil {
		return nil, because(ctx, err)
	}
	busy, steal := load.read()
	for _, l := range listeners {
		l.readLast(ctx)
	}
	hush()
	listening.Wait()
	cluster, err := e.Environment.Cluster(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}

	out := &results.Results{
		SchemaVersion: results.SchemaVersion,
		StartedAt:     phases[0].StartedAt,
		Environment: results.Environment{
			Kind: e.Environment.Kind(), Version: config.Version(), GoVersion: runtime.Version(),
			OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
			BusyFraction: busy, StealFraction: steal, Cluster: cluster,
		},
		Scenario: results.Scenario{
			Name: e.Scenario.Name, Description: e.Scenario.Description, Service: e.Scenario.Service,
			Load: e.Scenario.Load, Phases: phases,
		},
	}
	for i, o := range e.Overlays {
		e.score(out, o, listeners[i], phases, usage[i])
	}
	out.Notes = append(out.Notes, e.Environment.Notes()...)
	out.Notes = append(out.Notes, machineNotes(out.Environment)...)

	return out, nil
}

// because prefers the reason for which ctx was cancelled to the error that the
// cancelling led to.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}

	return err
}

// phases runs the scenario. It returns the phases as they took place and, for each
// overlay, the usage at the beginning of each and at the end.
func (e *Experiment) phases(ctx context.Context) ([]results.ScenarioPhase, [][]scorecard.Usage, error) {
	usage := make([][]scorecard.Usage, len(e.Overlays))
	sample := func() {
		for i, o := range e.Overlays {
			now := e.Environment.Usage(o)
			if len(usage[i]) == 0 {
				// What the client asked as it started is part of what the strategy costs:
				// the first phase counts from nothing.
				now = scorecard.Nothing(now)
			}
			usage[i] = append(usage[i], now)
		}
	}
	took := make([]results.ScenarioPhase, 0, len(e.Scenario.Phases))
	began := time.Now()
	for i, p := range e.Scenario.Phases {
		e.Progress.Phase(i, p)
		sample()
		undo, err := e.Environment.Act(ctx, e.Overlays, e.Scenario.Service, p)
		if err == nil {
			// The length counts from when the phase should have begun, so that phases do
			// not drift by what the actions take.
			err = sleep(ctx, time.Until(began.Add(p.For)))
		}
		if undo != nil {
			err = errors.Join(err, undo())
		}
		if err != nil {
			return nil, nil, fmt.Errorf("phase %q: %w", p.Name, err)
		}
		ends := began.Add(p.For)
		if late := time.Since(ends); late > tolerable {
			// What had an end took its time to end, such as an API server that has to start
			// again: all of that is this phase, and the next one is whole.
			ends = ends.Add(late)
		}
		took = append(took, results.ScenarioPhase{
			Name: p.Name, Action: p.Action(), Graceful: p.Graceful,
			StartedAt: began, Seconds: ends.Sub(began).Seconds(),
		})
		began = ends
	}
	sample()

	return took, usage, nil
}

func (e *Experiment) score(
	out *results.Results, o *render.Overlay, l *listener, phases []results.ScenarioPhase, usage []scorecard.Usage,
) {
	lives := e.Environment.Lives(o)
	frames := l.frames()
	for _, service := range scenario.Services {
		if e.Scenario.Load[service] == 0 {
			continue
		}
		strategy := l.strategy(service)
		record := scorecard.Record{
			Overlay: o.Name, Service: service, Control: service != e.Scenario.Service,
			Target: strategy.Target, ServiceConfig: strategy.ServiceConfig, Keys: strategy.Keys,
			Phases: phases, Frames: frames[service],
		}
		for _, life := range lives {
			if life.Service == service {
				record.Lives = append(record.Lives, life)
			}
		}
		// DNS queries and watches are not told apart by service: they are the client's,
		// and stand with the service that is measured.
		if !record.Control {
			record.Usage = usage
		}
		out.Runs = append(out.Runs, record.Score())
		out.Notes = append(out.Notes, notes(&record, e.Scenario.Load[service])...)
	}
	out.Notes = append(out.Notes, l.notes()...)
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
