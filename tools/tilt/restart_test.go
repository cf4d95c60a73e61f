package tilt_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a process may take to do what it is told.
const patience = 20 * time.Second

// program is a service as a script: it says which it is and what it was given, and goes away on SIGTERM with a status.
const program = `#!/bin/sh
trap 'echo NAME drained; exit 7' TERM
echo NAME "$@"
while :; do sleep 0.02; done
`

// restarted is tools/tilt/restart in a shell, with two programs.
type restarted struct {
	t      *testing.T
	cmd    *exec.Cmd
	live   string
	output *os.File
	said   *bufio.Reader
}

func restart(t *testing.T, shell []string, image string) *restarted {
	t.Helper()
	// A shell cannot trap what it was started to ignore, and under nohup that is SIGHUP. What a Go program is notified
	// of, its children do not ignore.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUps) })
	dir := t.TempDir()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &restarted{t: t, live: filepath.Join(dir, "live"), output: reader, said: bufio.NewReader(reader)}
	r.install(filepath.Join(dir, "image"), "image", image)
	r.cmd = exec.Command(shell[0], append(shell[1:], "restart", r.live, filepath.Join(dir, "image"), "--an argument", "*")...)
	r.cmd.Stdout = writer
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that nothing is left, whatever goes wrong
	if err := errors.Join(reader.SetReadDeadline(time.Now().Add(patience)), r.cmd.Start(), writer.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // most often there is nothing left of it
		_ = r.cmd.Wait()
		_ = reader.Close()
	})

	return r
}

// install puts a program into a place as tar does: the file is a new one, since the old one is being executed.
func (r *restarted) install(file, name, text string) {
	r.t.Helper()
	if err := os.WriteFile(file+".new", []byte(strings.ReplaceAll(text, "NAME", name)), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		r.t.Fatal(err)
	}
}

func (r *restarted) expect(lines ...string) {
	r.t.Helper()
	for _, want := range lines {
		got, err := r.said.ReadString('\n')
		if err != nil || got != want+"\n" {
			r.t.Fatalf("got %q and %v, want %q", got, err, want)
		}
	}
}

func (r *restarted) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// ends waits for the end of all that was started: each holds the pipe open.
func (r *restarted) ends(status int) {
	r.t.Helper()
	if rest, err := io.ReadAll(r.said); err != nil || len(rest) > 0 {
		r.t.Errorf("after the end: %q, %v", rest, err)
	}
	_ = r.cmd.Wait() // the status is looked at
	if got := r.cmd.ProcessState.ExitCode(); got != status {
		r.t.Errorf("exit status %d, want %d", got, status)
	}
}

// inShells runs a test in each shell of this machine that the script may meet.
func inShells(t *testing.T, test func(t *testing.T, shell []string)) {
	t.Helper()
	tested := 0
	for _, shell := range [][]string{{"busybox", "sh"}, {"dash"}, {"bash", "--posix"}, {"sh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			tested++
			t.Run(shell[0], func(t *testing.T) { test(t, shell) })
		}
	}
	if tested == 0 {
		t.Error("this machine has no shell")
	}
}

func TestAServiceStartsAgainAfterEachUpdate(t *testing.T) {
	inShells(t, func(t *testing.T, shell []string) {
		r := restart(t, shell, program)
		r.expect("image --an argument *")
		for _, update := range []string{"first", "second"} {
			r.install(r.live, update, program)
			before := map[string]string{"first": "image", "second": "first"}[update]
			r.signal(syscall.SIGHUP)
			r.expect(before+" drained", update+" --an argument *")
		}
		r.signal(syscall.SIGTERM)
		r.expect("second drained")
		r.ends(7)
	})
}

func TestAContainerThatStartsAgainHasTheLastUpdate(t *testing.T) {
	inShells(t, func(t *testing.T, shell []string) {
		before := restart(t, shell, program)
		before.expect("image --an argument *")
		before.install(before.live, "live", program)
		before.signal(syscall.SIGTERM)
		before.expect("image drained")
		before.ends(7)

		again := exec.Command(shell[0], append(shell[1:], "restart", before.live, "/image")...)
		before.install(before.live, "live", "#!/bin/sh\necho NAME \"$#\"")
		if out, err := again.Output(); err != nil || string(out) != "live 0\n" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

func TestAServiceThatEndsByItselfEndsTheContainer(t *testing.T) {
	inShells(t, func(t *testing.T, shell []string) {
		r := restart(t, shell, "#!/bin/sh\necho NAME; exit 3")
		r.expect("image")
		r.ends(3)
	})
}

func TestUpdatesInARowEndWithTheLast(t *testing.T) {
	inShells(t, func(t *testing.T, shell []string) {
		r := restart(t, shell, program)
		r.expect("image --an argument *")
		r.install(r.live, "live", program)
		for range 5 {
			r.signal(syscall.SIGHUP)
		}
		// How many of them are one is the scheduler's affair. After the last there is a service that runs.
		r.signal(syscall.SIGTERM)
		_, err := io.ReadAll(r.said)
		_ = r.cmd.Wait()
		if status := r.cmd.ProcessState.ExitCode(); err != nil || (status != 7 && status != 128+int(syscall.SIGTERM)) {
			t.Errorf("exit status %d, %v", status, err)
		}
	})
}
