package kubelet

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/probe"
)

type probeKind string

const (
	startup   probeKind = "startup"
	liveness  probeKind = "liveness"
	readiness probeKind = "readiness"
)

// verdict is what a probe found; err is nil for healthy.
type verdict struct {
	of  probeKind
	err error
}

// probes are the probes of one run of a container.
type probes struct {
	worker   *worker
	ctx      context.Context //nolint:containedctx // the life of the container's run
	tasks    *sync.WaitGroup
	started  time.Time
	verdicts chan verdict
}

// begin begins with the startup probe. The others wait for its success; if there is none, they begin.
func (p *probes) begin() {
	if spec := p.worker.container.StartupProbe; spec != nil {
		p.run(startup, spec)
	} else {
		p.beginRegular()
	}
}

func (p *probes) beginRegular() {
	if spec := p.worker.container.LivenessProbe; spec != nil {
		p.run(liveness, spec)
	}
	if spec := p.worker.container.ReadinessProbe; spec != nil {
		p.run(readiness, spec)
	}
}

func (p *probes) run(kind probeKind, spec *corev1.Probe) {
	// Both count from the start of the container, which may be long ago after a startup probe.
	delay := max(firstProbe, time.Duration(spec.InitialDelaySeconds)*time.Second) - time.Since(p.started)
	check := func(ctx context.Context) error {
		pod, ok := p.worker.pod()
		if !ok {
			return nil // it is on its way out
		}

		return p.worker.kubelet.opts.Check(ctx, pod, spec)
	}
	p.tasks.Go(func() {
		probe.Run(p.ctx, spec, delay, check, func(err error) {
			select {
			case p.verdicts <- verdict{of: kind, err: err}:
			case <-p.ctx.Done():
			}
		})
	})
}
