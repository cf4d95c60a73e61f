package matrix

import (
	"fmt"
	"time"
)

// forecast guesses how long a matrix still takes: the lengths of the scenarios that are
// left, stretched by what the runs so far took beyond theirs (starting, stopping).
type forecast struct {
	lengths      map[string]time.Duration
	left         time.Duration
	ranFor, took time.Duration
}

func newForecast(m *Matrix, rec *Record) *forecast {
	f := &forecast{lengths: map[string]time.Duration{}}
	for _, s := range m.Scenarios {
		f.lengths[s.Name] = s.Length
	}
	for _, run := range rec.Runs {
		if run.State == Waiting {
			f.left += f.lengths[run.Scenario]
		}
	}
	return f
}

// ran takes a run's time into account. One that failed may have ended early: it says nothing
// about the others.
func (f *forecast) ran(run *Run) {
	f.left -= f.lengths[run.Scenario]
	if run.State == Finished {
		f.ranFor += f.lengths[run.Scenario]
		f.took += time.Duration(run.Seconds * float64(time.Second))
	}
}

// words say how long it still takes; "" if that is not known.
func (f *forecast) words() string {
	left := f.left
	if f.ranFor > 0 {
		left = time.Duration(float64(left) * float64(f.took) / float64(f.ranFor))
	}
	switch {
	case left <= 0:
		return ""
	case left < time.Minute:
		return fmt.Sprintf(" (about %.0f s left)", left.Seconds())
	}
	return fmt.Sprintf(" (about %.0f min left)", left.Minutes())
}
