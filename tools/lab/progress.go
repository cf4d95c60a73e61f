package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

// progress says how an experiment goes: on a terminal a line that keeps up, elsewhere
// a line for each phase.
type progress struct {
	out      *os.File
	live     bool
	scenario *scenario.Scenario
	done     chan struct{}
	stopped  sync.WaitGroup
	once     sync.Once

	mu           sync.Mutex
	doing        string
	until        time.Time
	rpcs, failed map[string]int64
}

// plainWidth is the width of what is not a terminal, in columns.
const plainWidth = 100

func newProgress(out *os.File, s *scenario.Scenario) *progress {
	p := &progress{
		out: out, live: term.IsTerminal(int(out.Fd())), scenario: s, done: make(chan struct{}),
		rpcs: map[string]int64{}, failed: map[string]int64{},
	}
	if p.live {
		p.stopped.Go(p.keepUp)
	}

	return p
}

// Close ends the live line. It may be called more than once.
func (p *progress) Close() {
	p.once.Do(func() { close(p.done) })
	p.stopped.Wait()
}

// Step says what is happening now.
func (p *progress) Step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing, p.until = text, time.Time{}
	if !p.live {
		p.line(text)
	}
}

// Phase says that a phase has begun.
func (p *progress) Phase(index int, phase scenario.Phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = fmt.Sprintf("%d/%d %s", index+1, len(p.scenario.Phases), phase.Name)
	if action := phase.Action(); action != "" && action != phase.Name {
		p.doing += " (" + action + ")"
	}
	p.until = time.Now().Add(phase.For)
	if !p.live {
		p.line(fmt.Sprintf("%s: %v", p.doing, phase.For))
	}
}

// Count says how many RPCs there have been, and how many failed, by overlay.
func (p *progress) Count(overlay string, rpcs, failed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rpcs[overlay], p.failed[overlay] = rpcs, failed
}

// Note is something to know that does not stop the experiment.
func (p *progress) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(text)
}

// Write prints lines of a log above the live line.
func (p *progress) Write(text []byte) (int, error) {
	p.Note(strings.TrimRight(string(text), "\n"))

	return len(text), nil
}

// line prints a line above the live one.
func (p *progress) line(text string) {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, "lab: "+text)
}

// keepUp redraws the live line until Close.
func (p *progress) keepUp() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mu.Lock()
			fmt.Fprint(p.out, "\r\x1b[K"+p.status(terminalWidth(p.out)-1))
			p.mu.Unlock()
		case <-p.done:
			fmt.Fprint(p.out, "\r\x1b[K")

			return
		}
	}
}

// status is the live line, cut to width.
func (p *progress) status(width int) string {
	text := "lab: " + p.doing
	if left := time.Until(p.until); !p.until.IsZero() && left > 0 {
		text += fmt.Sprintf(", %d s left", int(left.Seconds()+0.5))
	}
	var rpcs, failed int64
	for overlay := range p.rpcs {
		rpcs += p.rpcs[overlay]
		failed += p.failed[overlay]
	}
	if rpcs > 0 {
		text += fmt.Sprintf("; %d RPCs, %d failed", rpcs, failed)
	}
	if runes := []rune(text); len(runes) > width {
		text = string(runes[:max(0, width)])
	}

	return strings.TrimRight(text, " ")
}

// terminalWidth is the width of a terminal in columns, and plainWidth of anything
// else.
func terminalWidth(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok {
		return plainWidth
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return plainWidth
	}

	return width
}
