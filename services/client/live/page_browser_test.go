//go:build browser

package live_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/evenkeel/evenkeel/services/client/live"
)

// said is what the page says in its list of what happened, a line each.
const said = `[...document.querySelectorAll(".events li")].map(li => li.innerText.replaceAll("\n", " "))`

// line is true once what happened names a pod, alone or with others of the same second.
func line(what, pod string) string {
	return fmt.Sprintf(`%s.some(line => /%s: .*%s/.test(line))`, said, what, pod)
}

// lanes counts the rows of the map that have a colour of their own just before now.
const lanes = `(() => {
	const canvas = document.querySelector("canvas"), g = map.geometry({lanes: [], columns: new Map(), edge: 0}, canvas.clientWidth);
	const ratio = canvas.width / canvas.clientWidth, n = document.querySelectorAll(".pods tbody tr").length;
	const row = Math.max(2, Math.min(26, Math.floor(860 / n) / 2));
	const column = canvas.getContext("2d").getImageData(Math.round((canvas.clientWidth - g.right - 2) * ratio), 0, 1, canvas.height).data;
	let painted = 0;
	for (let i = 0; i < n; i++) {
		const at = 4 * Math.round((g.top + (i + .5) * row) * ratio);
		if (column[at + 3] === 255 && column[at + 2] > column[at] + 40) painted++;
	}
	return painted })()`

func TestWithinFiveSecondsANewcomerSeesWhoAnswers(t *testing.T) {
	w := newWorld(t, 3, 200, "round_robin")
	begun := time.Now()
	b := open(w, 1280, "light")
	b.Wait(5*time.Second-time.Since(begun), `document.querySelector(".finding").textContent.startsWith("3 pods get even shares (max/mean 1.")
		&& `+lanes+` === 3 && document.querySelectorAll(".pods tbody tr").length === 3`)
	if words := value[string](b, `document.querySelector("main").innerText`); !strings.Contains(words, `"round_robin"`) || !strings.Contains(words, "rng-headless") {
		t.Errorf("no strategy on the page: %s", words)
	}
	table := value[string](b, `document.querySelector(".pods").innerText`)
	for _, p := range w.pods {
		if !strings.Contains(table, p.name) || !strings.Contains(table, p.address) {
			t.Errorf("no %s in %s", p.name, table)
		}
	}
	if n := strings.Count(table, "ready"); n != 3 {
		t.Errorf("%d connections are ready: %s", n, table)
	}
	if listed := strings.Join(value[[]string](b, said), "\n"); !strings.Contains(listed, "3 endpoints added: rng-5d8f9c-001") || !strings.Contains(listed, "connection") {
		t.Errorf("what happened:\n%s", listed)
	}
}

func TestARolloutIsShownAsItHappens(t *testing.T) {
	w := newWorld(t, 3, 200, "round_robin")
	b := open(w, 1280, "dark")
	b.Wait(10*time.Second, lanes+` === 3`)
	for range 3 {
		old := w.pods[0].name
		w.replace(w.pods[0])
		b.Wait(10*time.Second, line("endpoints? removed", old))
		b.Wait(10*time.Second, line("endpoints? added", w.pods[2].name))
		b.Wait(10*time.Second, line("connections? opened", w.pods[2].name))
		b.Wait(10*time.Second, line("connections? closed( after GOAWAY NO_ERROR| .[^)]*.|)", old))
	}
	b.Wait(15*time.Second, `[...document.querySelectorAll(".pods tbody tr:not(.gone)")].every(row => /rng-5d8f9c-00[456]/.test(row.innerText) && row.innerText.includes("known"))
		&& document.querySelectorAll(".pods tbody tr.gone").length === 3 && `+lanes+` === 3`)
	b.Wait(15*time.Second, `document.querySelector(".finding").textContent.startsWith("3 pods get even shares")`)
	listed := strings.Join(value[[]string](b, said), "\n")
	if strings.Contains(listed, "failed") || value[string](b, `document.querySelector("[data-figure=failed]").textContent`) != "0" {
		t.Errorf("RPCs failed in a rollout that leaves time: %s", listed)
	}
	if !strings.Contains(listed, "GOAWAY NO_ERROR") {
		t.Errorf("no GOAWAY in %s", listed)
	}
	b.pictures("rollout")
}

func TestFailuresAreRedInTheMapInWordsAndInTheTable(t *testing.T) {
	w := newWorld(t, 2, 200, "round_robin")
	w.pods[1].fail.Store(true)
	b := open(w, 1280, "light")
	b.Wait(20*time.Second, `/1 pod of 2 that are known gets everything; \d+ % of RPCs fail .INTERNAL./.test(document.querySelector(".finding").textContent)`)
	b.Wait(10*time.Second, said+`.some(line => / failed( in \d+ s)?: INTERNAL: the <b>dice<.b> are loaded$/.test(line))`)
	red := value[int](b, `(() => { const canvas = document.querySelector("canvas"), d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
		let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i] === 192 && d[i + 1] === 38 && d[i + 2] === 15) n++; return n })()`)
	if red < 20 {
		t.Errorf("%d red pixels in the map", red)
	}
	if cell := value[string](b, `document.querySelector(".pods .alarm").textContent`); cell == "0" {
		t.Error("no failed attempts in the table")
	}
}

func TestTheButtonsChangeTheRateThatIsMeasured(t *testing.T) {
	w := newWorld(t, 2, 100, "round_robin")
	b := open(w, 1280, "light")
	b.Wait(10*time.Second, `document.querySelector("[data-figure=rps]").textContent === "100"`)
	b.Do(chromedp.Click(chromedp.CSS(`[data-times="2"]`)))
	b.Wait(5*time.Second, `document.querySelector("output").textContent === "In force." && document.querySelector("[name=rate]").value === "200"`)
	b.Wait(15*time.Second, `document.querySelector("[data-figure=rps]").textContent === "200"`)
	b.Wait(5*time.Second, said+`.some(line => line.endsWith("load changed by hand: open loop, 200 RPCs/s, keys: none, values per RPC: 1"))`)
	w.until("200 a second in the stream", func(u *live.ServiceUpdate) bool { return u.Load.ByHand && u.Figures.RPS > 195 && u.Figures.RPS < 205 })
}

func TestABadValueIsShownAsAnErrorAndChangesNothing(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	b := open(w, 1280, "light")
	b.Wait(10*time.Second, lanes+` === 1`)
	for name, want := range map[string]string{"rate": "rate: 1000000 is out of range: give 0 or 0.001 to 100000", "payload": "payload: 1000000 is out of range: give 1 to 1000"} {
		field := fmt.Sprintf(`[name=%q]`, name)
		enter := func(text string) {
			value[bool](b, fmt.Sprintf(`(() => { const input = document.querySelector('%s'); input.focus(); input.value = ""; return true })()`, field))
			b.Do(chromedp.SendKeys(chromedp.CSS(field), text+kb.Enter))
		}
		enter("1000000")
		b.Wait(5*time.Second, fmt.Sprintf(`document.querySelector("output").textContent === %q && document.querySelector("output").className === "alarm"
			&& document.querySelector('%s').getAttribute("aria-invalid") === "true"`, want, field))
		enter("1")
		b.Wait(5*time.Second, `document.querySelector("output").textContent === "In force."`)
	}
	if plan := w.generator.Plan(); plan.Rate != 1 || plan.Payload != 1 {
		t.Errorf("in force is %+v", plan)
	}
}

func TestEverythingCanBeDoneWithTheKeyboard(t *testing.T) {
	w := newWorld(t, 3, 100, "round_robin")
	b := open(w, 1280, "light")
	b.Wait(10*time.Second, lanes+` === 3`)
	focused := func() string {
		return value[string](b, `(() => { const e = document.activeElement; return e.name || e.id || e.dataset.times || e.className || e.tagName })()`)
	}
	var order []string
	for range 30 {
		b.Do(chromedp.KeyEvent(kb.Tab))
		order = append(order, focused())
		if order[len(order)-1] == "plot" && len(order) < 5 {
			b.Do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowDown))
			b.Wait(5*time.Second, `!document.getElementById("tip").hidden && /rng-5d8f9c-002, 127.*RPCs answered/s.test(document.getElementById("tip").innerText)`)
			// The chosen second stays chosen while it moves to the left.
			second := value[string](b, `document.querySelector("#tip b").textContent`)
			place := value[string](b, `document.querySelector(".cell").style.transform`)
			b.Wait(10*time.Second, fmt.Sprintf(`document.querySelector(".cell").style.transform !== %q`, place))
			if still := value[string](b, `document.querySelector("#tip b").textContent`); still != second {
				t.Errorf("the second went from %s to %s by itself", second, still)
			}
			b.Do(chromedp.KeyEvent(kb.Escape))
			b.Wait(5*time.Second, `document.getElementById("tip").hidden`)
		}
		if order[len(order)-1] == "pause" {
			b.Do(chromedp.KeyEvent(" "))
			b.Wait(5*time.Second, `document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
			b.Do(chromedp.KeyEvent(kb.Enter))
			b.Wait(5*time.Second, `document.getElementById("pause").getAttribute("aria-pressed") === "false"`)
		}
		if order[len(order)-1] == "theme" {
			b.Do(chromedp.KeyEvent(kb.Enter))
			b.Wait(5*time.Second, `document.documentElement.dataset.theme === "dark" && getComputedStyle(document.body).backgroundColor === "rgb(18, 22, 27)"`)
		}
		if order[len(order)-1] == "2" {
			b.Do(chromedp.KeyEvent(kb.Enter))
			b.Wait(5*time.Second, `document.querySelector("[name=rate]").value === "200"`)
		}
		if order[len(order)-1] == "scroll" && len(order) > 10 {
			break
		}
	}
	for _, want := range []string{"pause", "theme", "plot", "0.5", "rate", "2", "concurrency", "keys", "payload", "apply", "scroll"} {
		if !strings.Contains(" "+strings.Join(order, " ")+" ", " "+want+" ") {
			t.Errorf("Tab does not lead to %s: %q", want, order)
		}
	}
	// For those who listen: what happens is said once, and not again while it stays so.
	if text := value[string](b, `document.getElementById("said").textContent`); !strings.HasPrefix(text, "rng: ") {
		t.Errorf("what is said: %q", text)
	}
	unnamed := value[[]string](b, `[...document.querySelectorAll("button, input, select, [tabindex='0']")].filter(e => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)`)
	if len(unnamed) > 0 {
		t.Errorf("without a name: %q", unnamed)
	}
}

func TestAHundredPodsFitAndAreAllThere(t *testing.T) {
	w := newWorld(t, 100, 300, "round_robin")
	b := open(w, 1280, "light")
	b.Wait(20*time.Second, `document.querySelectorAll(".pods tbody tr").length === 100 && `+lanes+` > 90`)
	b.Wait(20*time.Second, `document.querySelector(".finding").textContent.startsWith("100 pods get even shares")`)
	for range 5 {
		w.replace(w.pods[0])
	}
	b.Wait(20*time.Second, `document.querySelectorAll(".pods tbody tr").length === 105`)
	if high := value[int](b, `document.querySelector("canvas").clientHeight`); high > 600 {
		t.Errorf("the map is %d high", high)
	}
	b.pictures("hundred")
}

func TestThePageFitsItsWindowAndItsWordsStandOutInBothThemes(t *testing.T) {
	w := newWorld(t, 3, 200, "round_robin")
	w.pods[0].fail.Store(true)
	b := open(w, 1280, "light")
	b.Wait(20*time.Second, `document.querySelector(".finding").textContent.includes("fail") && document.querySelectorAll(".events .alarm").length > 0`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1280} {
			b.Window(width, scheme)
			b.Wait(10*time.Second, fmt.Sprintf(`document.documentElement.clientWidth <= %d && document.querySelector("canvas").clientWidth === document.querySelector(".plot").clientWidth`, width))
			b.Fits()
			b.StandsOut()
		}
	}
}

func TestThePageTakesUpTheStreamAgainWhenItsClientIsGone(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	b := open(w, 1280, "light")
	b.Wait(10*time.Second, `document.getElementById("line").textContent === "live"`)
	w.end()
	b.Wait(10*time.Second, `document.getElementById("line").textContent === "the client does not answer; trying again"`)
}
