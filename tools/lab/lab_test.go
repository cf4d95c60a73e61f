package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

var (
	// binDir has the lab and the services, built once for all tests.
	binDir string
	// buildFlags are those that the tests themselves were built with.
	buildFlags []string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "lab-test-*")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", slices.Concat([]string{"build", "-o", dir}, buildFlags,
			[]string{"./services/rng", "./services/geoip", "./services/client", "./tools/lab"})...)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
		binDir = dir

		return m.Run()
	}())
}

// lab is a lab that runs as a process of its own, in a temporary folder of its own.
type lab struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string
	out    string
	stderr *bufio.Reader
}

// start runs overlays under a short scenario.
func start(t *testing.T, overlays ...string) *lab {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	l := launch(t, append([]string{"run", "--scenario", "tools/lab/testdata/short.yaml", "--out", out}, overlays...)...)
	l.out = out

	return l
}

func launch(t *testing.T, args ...string) *lab {
	t.Helper()
	l := &lab{t: t, tmp: t.TempDir()}
	l.cmd = exec.Command(filepath.Join(binDir, "lab"), args...)
	l.cmd.Dir = "../.."
	l.cmd.Env = append(os.Environ(), "TMPDIR="+l.tmp)
	stderr, err := l.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stderr = bufio.NewReader(stderr)
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // most often it has exited
		_ = l.cmd.Wait()
		l.awaitNothingLeft()
	})

	return l
}

// await reads what the lab says until a line has text in it, and returns that line.
func (l *lab) await(text string) string {
	l.t.Helper()
	var said strings.Builder
	for {
		line, err := l.stderr.ReadString('\n')
		said.WriteString(line)
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
		if err != nil {
			l.t.Fatalf("the lab ended before it said %q:\n%s", text, said.String())
		}
	}
}

// end reads the rest of what the lab says and returns it, and how it exited.
func (l *lab) end() (string, *os.ProcessState) {
	l.t.Helper()
	said, err := io.ReadAll(l.stderr)
	if err != nil {
		l.t.Fatal(err)
	}
	_ = l.cmd.Wait() // the state says how

	return string(said), l.cmd.ProcessState
}

// awaitNothingLeft waits until no process of the lab's lives and its folder is gone.
func (l *lab) awaitNothingLeft() {
	l.t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		left = slices.Concat(l.processes(), l.folders())
		if len(left) == 0 {
			return
		}
	}
	l.t.Errorf("left behind: %q", left)
}

// processes are those whose environment has the lab's temporary folder.
func (l *lab) processes() []string {
	var found []string
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(environments) == 0 {
		l.t.Fatal("this system has no /proc: run the test on Linux")
	}
	for _, file := range environments {
		// A process that has ended meanwhile is not left.
		text, _ := os.ReadFile(file)
		if bytes.Contains(text, []byte(l.tmp)) {
			found = append(found, filepath.Dir(file))
		}
	}

	return found
}

func (l *lab) folders() []string {
	found, err := filepath.Glob(filepath.Join(l.tmp, "evenkeel-lab-*"))
	if err != nil {
		l.t.Fatal(err)
	}

	return found
}

func TestTheLabMeasuresWhatTheStrategiesDo(t *testing.T) {
	for overlay, sum := range measure(t, "clusterip", "api-watch") {
		switch overlay {
		case "clusterip":
			if sum.Steady.Used != 1 || sum.Steady.Pods != 2 || *sum.Steady.MaxOverMean != 2 {
				t.Errorf("clusterip used %d of %d pods", sum.Steady.Used, sum.Steady.Pods)
			}
		case "api-watch":
			checkEven(t, overlay, sum)
			checkNewPods(t, overlay, sum)
		}
	}
}

func TestTheLabMeasuresWhatOurOwnLibrariesDo(t *testing.T) {
	for overlay, sum := range measure(t, "dns-srv", "endpointslice", "consistent-hash") {
		switch overlay {
		case "dns-srv":
			// The TTL of its records is longer than the scenario: new pods are not its test.
			checkEven(t, overlay, sum)
		case "endpointslice":
			checkEven(t, overlay, sum)
			checkNewPods(t, overlay, sum)
		case "consistent-hash":
			if a := sum.Steady.Affinity; sum.Steady.Used != 2 || a == nil || *a < 0.95 {
				t.Errorf("%s used %d pods, affinity %s", overlay, sum.Steady.Used, figure(a))
			}
			checkNewPods(t, overlay, sum)
		}
	}
}

// measure runs overlays, checks what holds for all of them, and returns the summaries of
// what was done to rng.
func measure(t *testing.T, overlays ...string) map[string]results.Summary {
	t.Helper()
	l := start(t, overlays...)
	said, state := l.end()
	if state.ExitCode() != 0 {
		t.Fatalf("%v: %s", state, said)
	}
	if _, err := os.Stat(filepath.Join(l.out, "report.html")); err != nil {
		t.Error(err)
	}
	file, err := os.Open(filepath.Join(l.out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := results.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Runs) != 2*len(overlays) {
		t.Fatalf("%d runs, want two services of %d overlays", len(got.Runs), len(overlays))
	}
	summaries := map[string]results.Summary{}
	for _, run := range got.Runs {
		if run.Control {
			if run.Service != "geoip" || run.Phases[0].RPCs == 0 {
				t.Errorf("control: %s, %d RPCs", run.Service, run.Phases[0].RPCs)
			}

			continue
		}
		sum := run.Summary(&got.Scenario)
		if want := int64(1200); sum.RPCs < want*95/100 || sum.RPCs > want*105/100 {
			t.Errorf("%s: %d RPCs, want about %d", run.Overlay, sum.RPCs, want)
		}
		if sum.GracefulFailed != 0 {
			t.Errorf("%s: %d RPCs failed in graceful phases: %s", run.Overlay, sum.GracefulFailed, run.Phases[1].FirstError)
		}
		summaries[run.Overlay] = sum
	}

	return summaries
}

// checkEven checks that both pods had the same load while nothing happened.
func checkEven(t *testing.T, overlay string, sum results.Summary) {
	t.Helper()
	if m := sum.Steady.MaxOverMean; sum.Steady.Used != 2 || m == nil || *m > 1.05 {
		t.Errorf("%s used %d pods, max/mean %s", overlay, sum.Steady.Used, figure(m))
	}
}

// checkNewPods checks that a watch told of each new pod: one of the scale up and one
// in place of the killed one.
func checkNewPods(t *testing.T, overlay string, sum results.Summary) {
	t.Helper()
	if n := sum.NewPods; n.Count != 2 || n.Never != 0 || *n.Worst > 2 {
		t.Errorf("%s: new pods %+v", overlay, n)
	}
}

// figure prints what may not have been measured.
func figure(f *float64) string {
	if f == nil {
		return "not measured"
	}

	return fmt.Sprint(*f)
}

func TestALabThatIsKilledLeavesNothingBehind(t *testing.T) {
	l := start(t, "clusterip", "api-watch")
	l.await("scale up")
	if len(l.processes()) < 8 { // the lab, its watchdog and six pods at least
		t.Errorf("processes: %q", l.processes())
	}
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = l.cmd.Wait() // it was killed
	l.awaitNothingLeft()
}

func TestCtrlCStopsTheLabAndEverythingItStarted(t *testing.T) {
	l := start(t, "dns-round-robin")
	l.await("steady")
	if err := l.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said, state := l.end()
	if state.ExitCode() != 130 || !strings.HasSuffix(said, "lab: interrupted: whatever was started has been ended\n") {
		t.Errorf("%v: %s", state, said)
	}
	if left := slices.Concat(l.processes(), l.folders()); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := os.Stat(l.out); !os.IsNotExist(err) {
		t.Errorf("it wrote to %s: %v", l.out, err)
	}
}

func TestAStrategyThatTheClientRefusesIsSaidAtOnce(t *testing.T) {
	dir := t.TempDir()
	overlays, err := filepath.Abs("../../kustomize/overlays")
	if err != nil {
		t.Fatal(err)
	}
	// kustomize takes only relative paths to folders.
	base, err := filepath.Rel(dir, filepath.Join(overlays, "clusterip"))
	if err != nil {
		t.Fatal(err)
	}
	kustomization := `namespace: misspelt
resources: [` + base + `]
configMapGenerator:
- name: strategy
  behavior: merge
  literals: ['RNG_SERVICE_CONFIG={"loadBalancingConfig":[{"round_robbin":{}}]}']
`
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, dir)
	said, state := l.end()
	if want := "--rng-service-config: "; state.ExitCode() != 1 || !strings.Contains(said, want) || !strings.Contains(said, "round_robbin") {
		t.Errorf("%v: %s\nwant 1 and %s", state, said, want)
	}
}

func TestBadInputIsOneLineAndStatus2BeforeAnythingIsStarted(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("name: x\nservice: rgn\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no overlay":       {[]string{"run"}, "expected \"<overlays> ...\""},
		"unknown overlay":  {[]string{"run", "clusterpi"}, `overlay "clusterpi": no`},
		"unknown scenario": {[]string{"run", "--scenario", "nowhere.yaml", "clusterip"}, "nowhere.yaml: no such file"},
		"bad scenario":     {[]string{"run", "--scenario", broken, "clusterip"}, `broken.yaml:2: service: "rgn" is not accepted: give rng or geoip`},
		"same twice":       {[]string{"run", "clusterip", "clusterip"}, "is that of an earlier overlay"},
		"unknown env":      {[]string{"run", "--env", "moon", "clusterip"}, `--env must be one of "local","kubernetes" but got "moon"`},
		"unknown command":  {[]string{"rum"}, "unexpected argument rum"},
		"bad results":      {[]string{"report", broken}, "broken.yaml: "},
		"no binaries":      {[]string{"run", "--bin-dir", os.DevNull, "clusterip"}, "run `make build`"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(binDir, "lab"), test.args...)
			cmd.Dir = "../.."
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run() // its status is looked at below
			said := strings.TrimSpace(stderr.String())
			if cmd.ProcessState.ExitCode() != 2 || strings.Contains(said, "\n") || !strings.Contains(said, test.want) {
				t.Errorf("exit %d: %s\nwant 2 and one line with %s", cmd.ProcessState.ExitCode(), said, test.want)
			}
		})
	}
}
