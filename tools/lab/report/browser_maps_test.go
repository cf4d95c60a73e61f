//go:build browser

package report

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// painted tells what is to be seen in the row of each pod of each figure: the time
// of its first and last coloured cell, and where its marks stand. It measures with
// the figure's own axis, and counts colours: cells are blue, marks black or red.
const painted = `(() => [...document.querySelectorAll("figure.run")].map(figure => {
	const canvas = figure.querySelector("canvas"), c = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true}), k = canvas.width / figure.querySelector(".plot svg").viewBox.baseVal.width;
	c.drawImage(canvas, 0, 0);
	const names = [...figure.querySelectorAll("g.pod")], ys = names.map(g => g.transform.baseVal[0].matrix.f), row = ys[1] - ys[0];
	const ticks = [...figure.querySelectorAll(".axis .tick")].map(t => [parseFloat(t.textContent), t.transform.baseVal[0].matrix.e]);
	const [[s0, x0], [s1, x1]] = [ticks[0], ticks.at(-1)], time = x => s0 + (x - x0 + .5) / (x1 - x0) * (s1 - s0);
	const left = Math.round((x0 + 1) * k);
	const scan = (y, is) => { const { data } = c.getImageData(left, Math.round(y * k), canvas.width - left, 1), at = [];
		for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && is(data[i], data[i + 1], data[i + 2])) at.push(time((left + i / 4) / k)); return at };
	const ends = at => at.length ? [at[0], at.at(-1)] : [];
	return ys.map(y => ({
		Cells: ends(scan(y + row * .4, (r, g, b) => b - r > 24)),
		First: ends(scan(y + row - 1.5 + 1.2, (r, g, b) => r < 70 && g < 70 && b < 70)),
		Off: ends(scan(y + row - 1.5, (r, g, b) => r - b > 90)),
	}));
}))()`

func TestEachCellAndMarkStandsAtItsMoment(t *testing.T) {
	r := sample()
	b := open(t, r, 1400, "light")
	b.Do(chromedp.Click(chromedp.CSS("details.control summary")))
	type row struct{ Cells, First, Off []float64 }
	maps := value[[][]row](b, painted)
	order := value[[]int](b, `[...document.querySelectorAll("figure.run")].map(f => Number(f.dataset.run))`)
	if len(maps) != len(r.Runs) {
		t.Fatalf("%d figures, want one for each of %d runs", len(maps), len(r.Runs))
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.35 {
			t.Errorf("%s at %.2f s, want %.2f", what, got, want)
		}
	}
	marks := 0
	for i, rows := range maps {
		run := &r.Runs[order[i]]
		if len(rows) != len(run.Timeline.Pods) {
			t.Fatalf("%s %s: %d rows, want %d", run.Overlay, run.Service, len(rows), len(run.Timeline.Pods))
		}
		for k, got := range rows {
			pod := &run.Timeline.Pods[k]
			what := fmt.Sprintf("%s %s %s", run.Overlay, run.Service, pod.Name)
			first, last := ends(pod.RPCs)
			if first < 0 != (len(got.Cells) == 0) {
				t.Errorf("%s: cells %v, but its RPCs are in the bins from %d to %d", what, got.Cells, first, last)
			} else if first >= 0 {
				near(what+": first cell", got.Cells[0], max(0.1, float64(first)*run.Timeline.BinSeconds))
			}
			if pod.ReadyAt == nil || run.Control {
				continue
			}
			ready := pod.ReadyAt.Sub(sampleStart).Seconds()
			if wait, off := waits(run, pod.Name); wait != nil {
				marks++
				if len(got.First) == 0 {
					t.Errorf("%s: no mark on its first RPC", what)
					continue
				}
				near(what+": mark of the first RPC", got.First[1], ready+*wait)
			} else if off != nil && *off > 0 {
				marks++
				if len(got.Off) == 0 {
					t.Errorf("%s: no mark on the last attempt", what)
					continue
				}
				near(what+": mark of the last attempt", got.Off[1], pod.UnreadyAt.Sub(sampleStart).Seconds()+*off)
			}
		}
	}
	if marks < 50 {
		t.Errorf("only %d marks were looked for: the sample has become poor", marks)
	}
	if words := value[string](b, `document.querySelector(".run .plot svg").textContent`); !strings.Contains(words, "no RPC") || !strings.Contains(words, "killed") {
		t.Errorf("the map of clusterip does not say that ready pods got nothing, or that one was killed: %s", words)
	}
	b.Picture("light.png")
}

// A bin may begin before a phase and end in it. What failed in it is drawn as the
// phases count it.
func TestAFailureIsDrawnAsItsPhaseCountsIt(t *testing.T) {
	for _, kill := range []bool{true, false} {
		r := sample()
		run := &r.Runs[6]
		run.Timeline.StartedAt = run.Timeline.StartedAt.Add(100 * time.Millisecond)
		clear(run.Timeline.Failed)
		for i := range run.Phases {
			run.Phases[i].Failed = 0
		}
		const straddling = 187 // from 46.85 to 47.10 s, and the kill is at 47
		run.Timeline.Failed[straddling] = 5
		guilty := 3
		if !kill {
			guilty = 2
		}
		run.Phases[guilty].Failed = 5
		b := open(t, r, 1400, "light")
		solid := value[float64](b, `(() => { const canvas = document.querySelector("#run-6 canvas"), { data } = canvas.getContext("2d").getImageData(0, canvas.height - 3, canvas.width, 1);
			let full = 0, some = 0;
			for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 20 && data[i] - data[i + 2] > 40) { some++; if (data[i] === 192 && data[i + 1] === 38 && data[i + 3] === 255) full++ }
			return some ? full / some : -1 })()`)
		if solid < 0 || kill != (solid < 0.4) {
			t.Errorf("failures of %q are solid for %.0f %% of their width", run.Phases[guilty].Name, 100*solid)
		}
	}
}

// ends are the first and the last bin that is not empty, or -1.
func ends(bins []int64) (first, last int) {
	first, last = -1, -1
	for i, n := range bins {
		if n > 0 {
			last = i
			if first < 0 {
				first = i
			}
		}
	}
	return first, last
}

func waits(run *results.Run, name string) (first, off *float64) {
	for i := range run.Phases {
		for k := range run.Phases[i].Pods {
			if pod := &run.Phases[i].Pods[k]; pod.Name == name {
				if pod.FirstRPCSeconds != nil {
					first = pod.FirstRPCSeconds
				}
				if pod.OffSeconds != nil {
					off = pod.OffSeconds
				}
			}
		}
	}
	return first, off
}

func (b tab) tip() string {
	b.Helper()
	return value[string](b, `document.getElementById("tip").hidden ? "" : [...document.getElementById("tip").children].map(e => e.textContent).join("; ")`)
}

// cell is where in the window a figure shows its pod of that number at a time.
func (b tab) cell(plot string, pod int, t float64) (x, y float64) {
	b.Helper()
	place := value[[]float64](b, fmt.Sprintf(`(() => { const figure = document.querySelector(%q), plot = figure.querySelector(".plot"), box = plot.getBoundingClientRect();
		const ticks = [...figure.querySelectorAll(".axis .tick")].map(t => [parseFloat(t.textContent), t.transform.baseVal[0].matrix.e]);
		const [[s0, x0], [s1, x1]] = [ticks[0], ticks.at(-1)];
		return [box.left + x0 + (%f - s0) / (s1 - s0) * (x1 - x0), box.top + plot.querySelectorAll("g.pod")[%d].transform.baseVal[0].matrix.f + 5] })()`, plot, t, pod))
	return place[0], place[1]
}

func TestAMapTellsItsFiguresToThePointerAndTheKeys(t *testing.T) {
	r := sample()
	b := open(t, r, 1400, "light")
	if got := b.tip(); got != "" {
		t.Errorf("the tip shows %q before anybody asked", got)
	}
	b.Do(chromedp.ScrollIntoView(chromedp.CSS("#run-0 .plot")))
	x, y := b.cell("#run-0", 0, 0.1)
	b.Do(chromedp.MouseEvent("mouseMoved", x, y))
	pod := r.Runs[0].Timeline.Pods[0]
	for _, want := range []string{pod.Name, "0.00–0.25 s, steady", "200 RPC/s (50 in 0.25 s)", "ready since before the scenario", "0 RPCs of this overlay failed here"} {
		if got := b.tip(); !strings.Contains(got, want) {
			t.Errorf("the tip is %q, want it to have %q", got, want)
		}
	}
	if n := value[int](b, `document.querySelectorAll(".cursor:not([hidden])").length`); n != len(r.Runs)*3/2 {
		t.Errorf("the line goes through %d maps, want all %d, and the small ones", n, len(r.Runs))
	}
	b.Picture("pointer.png")
	b.Do(chromedp.MouseEvent("mouseMoved", 5, 5))
	if got := b.tip(); got != "" {
		t.Errorf("the tip stays when the pointer leaves: %q", got)
	}
	b.Do(chromedp.Focus(chromedp.CSS("#run-2 .plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowDown))
	if got, want := b.tip(), r.Runs[2].Timeline.Pods[1].Name+"; 0.25–0.50 s, steady"; !strings.HasPrefix(got, want) {
		t.Errorf("the keys lead to %q, want %q", got, want)
	}
	b.Do(chromedp.KeyEvent(kb.End))
	if got, want := b.tip(), "71.75–72.00 s, scale down"; !strings.Contains(got, want) {
		t.Errorf("End leads to %q, want %q", got, want)
	}
	b.Do(chromedp.KeyEvent(kb.Escape))
	if got := b.tip(); got != "" {
		t.Errorf("Escape leaves %q", got)
	}
}

func TestWhatAFingerFindsStaysUntilItTapsElsewhere(t *testing.T) {
	r := sample()
	b := open(t, r, 390, "light")
	touch := func(x, y float64) {
		t.Helper()
		for _, p := range []input.DispatchTouchEventParams{
			{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: x, Y: y}}},
			{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
		} {
			if _, err := chromedp.Call(b.Context, input.DispatchTouchEvent, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Do(chromedp.ScrollIntoView(chromedp.CSS("#run-6 .plot")))
	x, y := b.cell("#run-6", 4, 20)
	touch(x, y)
	run := r.Runs[6]
	wait, _ := waits(&run, run.Timeline.Pods[4].Name)
	for _, want := range []string{run.Timeline.Pods[4].Name, "scale up", fmt.Sprintf("first RPC %.2f s after it was ready", *wait)} {
		if got := b.tip(); !strings.Contains(got, want) {
			t.Errorf("the tip is %q, want it to have %q", got, want)
		}
	}
	if wide := value[int64](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("with the tip the page is %d wide in a window of 390", wide)
	}
	b.Picture("touch.png")
	touch(380, 5)
	if got := b.tip(); got != "" {
		t.Errorf("the tip stays after a tap elsewhere: %q", got)
	}
}

func TestTheMapIsATableAsWell(t *testing.T) {
	r := sample()
	b := open(t, r, 1400, "light")
	if n := value[int](b, `document.querySelectorAll(".lives table").length`); n != 0 {
		t.Errorf("%d tables were made before anybody opened one", n)
	}
	b.Do(chromedp.Evaluate[chromedp.Void](`new Promise(done => { const d = document.querySelector(".lives").closest("details"); d.addEventListener("toggle", () => done(), {once: true}); d.open = true })`, chromedp.EvalAwaitPromise))
	got := value[[][]string](b, `[...document.querySelector(".lives").querySelectorAll("tr")].map(r => [...r.cells].map(c => c.textContent))`)
	run := &r.Runs[0]
	if len(got) != len(run.Timeline.Pods)+1 {
		t.Fatalf("%d rows, want a heading and %d pods", len(got), len(run.Timeline.Pods))
	}
	_, off := waits(run, run.Timeline.Pods[0].Name)
	unready := run.Timeline.Pods[0].UnreadyAt.Sub(sampleStart).Seconds()
	ended := run.Timeline.Pods[0].EndedAt.Sub(sampleStart).Seconds()
	want := []string{run.Timeline.Pods[0].Name, "before 0", "–", fmt.Sprintf("%.2f", unready), fmt.Sprintf("%.2f", *off), fmt.Sprintf("%.2f", ended), "6,753"}
	if diff := cmp.Diff(want, got[1]); diff != "" {
		t.Errorf("the first pod (-want +page):\n%s", diff)
	}
	if got[4][2] != "never" {
		t.Errorf("a new pod that got no RPC has %q, want never: %q", got[4][2], got[4])
	}
}
