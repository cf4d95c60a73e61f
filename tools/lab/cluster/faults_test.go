package cluster

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// toolVariable has the test's own program play tools/cluster: it says what it was told and when it ends.
const toolVariable = "EVENKEEL_TEST_TOOL"

func TestMain(m *testing.M) {
	if file := os.Getenv(toolVariable); file != "" {
		os.Exit(playTool(file))
	}
	goleak.VerifyTestMain(m)
}

func playTool(file string) int {
	args := strings.Join(os.Args[1:], " ")
	if strings.Contains(args, "node9") {
		fmt.Fprintln(os.Stderr, "no node \"node9\":\nthere are node1, node2")

		return 1
	}
	fmt.Println("in force: " + args)
	text := "began: " + args + "\n"
	if strings.Contains(args, "--until-eof") {
		_, _ = io.Copy(io.Discard, os.Stdin)
		text += "ended: " + args + "\n"
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = out.WriteString(text)
	}
	if err != nil {
		return 2
	}

	return 0
}

// withTool is an environment whose tool is played, and a function that reads what was done.
func withTool(t *testing.T) (*act, func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "done")
	t.Setenv(toolVariable, file)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	return &act{Environment: &Environment{options: Options{Tool: self}}, ctx: t.Context()}, func() string {
		text, _ := os.ReadFile(file) // none, if nothing was done

		return string(text)
	}
}

func TestAFaultIsInForceUntilThePhaseEnds(t *testing.T) {
	a, done := withTool(t)
	if err := a.fault("freeze-node", "node1"); err != nil {
		t.Fatal(err)
	}
	if text := done(); text != "" {
		t.Errorf("it has ended: %s", text)
	}
	if err := a.undo(); err != nil {
		t.Fatal(err)
	}
	if text := done(); text != "began: fault freeze-node node1 --until-eof\nended: fault freeze-node node1 --until-eof\n" {
		t.Errorf("what was done: %s", text)
	}
}

func TestWhatHasNoEndIsDoneAtOnce(t *testing.T) {
	a, done := withTool(t)
	if err := a.once(t.Context(), "kill-pod", "ns/rng-1"); err != nil {
		t.Fatal(err)
	}
	if text := done(); text != "began: fault kill-pod ns/rng-1\n" {
		t.Errorf("what was done: %s", text)
	}
}

func TestAFaultThatDoesNotBeginSaysWhy(t *testing.T) {
	a, _ := withTool(t)
	err := a.fault("partition", "node9")
	want := `fault partition node9 --until-eof: exit status 1: no node "node9": there are node1, node2`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ... %s", err, want)
	}
	if err := a.undo(); err != nil {
		t.Errorf("nothing is to be undone, and that fails: %v", err)
	}
}
