package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

const (
	// maxStep is more than any step takes, in bytes.
	maxStep = 16 << 10
	// maxHistory is how many steps the page remembers.
	maxHistory = 200
)

// Entry is a step that was done.
type Entry struct {
	At      time.Time `json:"at"`
	Overlay string    `json:"overlay"`
	Action  string    `json:"action"`
	// Problem is what did not work; "" if all did.
	Problem string `json:"problem,omitempty"`
}

// String is a line for a terminal.
func (e *Entry) String() string {
	text := fmt.Sprintf("%s %s: %s", e.At.Format(time.TimeOnly), e.Overlay, e.Action)
	if e.Problem != "" {
		text += ": " + e.Problem
	}

	return text
}

// serveStep does the step that a request has in its body.
func (b *Board) serveStep(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxStep))
	if err != nil {
		http.Error(w, "step: "+err.Error(), http.StatusBadRequest)

		return
	}
	step, err := scenario.ParseStep(text)
	if err == nil {
		err = b.check(step)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}
	// Whoever asked for it may go away: what was begun is brought to its end.
	entry := b.do(context.WithoutCancel(r.Context()), step)
	status := http.StatusOK
	if entry.Problem != "" {
		status = http.StatusConflict
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, &entry) // a reader that has gone away is no news
}

// check refuses what cannot be done here, before anything is.
func (b *Board) check(step *scenario.Step) error {
	if _, err := b.chosen(step.Overlay); err != nil {
		return err
	}
	if err := step.Phase.Refuse(b.env.Kind(), b.options.Cannot); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	if (step.Phase.APIServerDown || step.APIServerUp) && step.Overlay != scenario.All {
		return fmt.Errorf("step: api-server: there is one for all overlays: give %q as the overlay", scenario.All)
	}

	return nil
}

// do does a step that check accepts, to all that it names at the same moment, and takes it down.
func (b *Board) do(ctx context.Context, step *scenario.Step) Entry {
	b.acting.Lock()
	defer b.acting.Unlock()
	entry := Entry{At: time.Now(), Overlay: step.Overlay, Action: step.Action()}
	overlays, err := b.chosen(step.Overlay)
	if err == nil {
		err = b.toggle(ctx, &b.apiUp, b.overlays, scenario.Phase{APIServerDown: step.Phase.APIServerDown}, step.APIServerUp)
	}
	errs := make([]error, len(overlays))
	var acting sync.WaitGroup
	for i, o := range overlays {
		acting.Go(func() { errs[i] = b.act(ctx, o, step) })
	}
	acting.Wait()
	if err := errors.Join(err, errors.Join(errs...)); err != nil {
		entry.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	b.mu.Lock()
	b.history = append(b.history, entry)
	b.history = b.history[max(0, len(b.history)-maxHistory):]
	b.mu.Unlock()
	b.options.Log(entry.String())

	return entry
}

// act does a step to one overlay: as in a phase, faults are there before what they are to disturb.
func (b *Board) act(ctx context.Context, o *overlay, step *scenario.Step) error {
	b.mu.Lock()
	err := o.room(b.env.Lives(o.Overlay.Overlay), step, b.options.MaxPods)
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("overlay %s: %w", o.Name, err)
	}
	p := step.Phase
	p.APIServerDown, p.DNSDown = false, false
	err = b.toggle(ctx, &o.dnsUp, []*overlay{o}, scenario.Phase{DNSDown: step.Phase.DNSDown}, step.DNSUp)
	begun := time.Now()
	if p.Action() != "" {
		// What is frozen goes on by itself, and nothing else here has an end: there is nothing to undo.
		_, acted := b.env.Act(ctx, []*render.Overlay{o.Overlay.Overlay}, Service, p)
		err = errors.Join(err, acted)
	}
	if err != nil {
		return fmt.Errorf("overlay %s: %w", o.Name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.note(p, begun)

	return nil
}

// toggle begins what a phase with an end does, or ends it. *end is what ends it, nil while it has not begun. Steps come
// one after the other, so *end changes nowhere else meanwhile.
func (b *Board) toggle(ctx context.Context, end *func() error, overlays []*overlay, p scenario.Phase, up bool) error {
	set := func(to func() error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		*end = to
	}
	switch {
	case up && *end != nil:
		err := (*end)()
		set(nil)

		return err
	case p.Action() != "" && *end == nil:
		rendered := make([]*render.Overlay, len(overlays))
		for i, o := range overlays {
			rendered[i] = o.Overlay.Overlay
		}
		undo, err := b.env.Act(ctx, rendered, Service, p)
		set(undo)

		return err
	}

	return nil
}
