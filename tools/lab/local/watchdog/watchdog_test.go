package watchdog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// The test binary plays every part: its first argument says which.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			if err := part(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

func TestKillMinusNineOfTheLabLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	cmd, told := startLab(t, tmp)

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	eventually(t, "the watchdog is gone", func() bool { return gone(t, told.Watchdog) })
	for _, p := range told.Pods {
		eventually(t, fmt.Sprintf("pod %d is gone", p.PID), func() bool { return gone(t, p.PID) })
		if conn, err := net.Dial("tcp", p.Address); err == nil {
			conn.Close()
			t.Errorf("something still listens on %s", p.Address)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("these are left: %v", left)
	}
}

func TestALabKilledWhileItStartsPodsLeavesNone(t *testing.T) {
	for range 5 {
		read, alive, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "busy-lab")
		cmd.ExtraFiles = []*os.File{alive}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		alive.Close()
		if _, err := io.ReadFull(out, make([]byte, len("busy\n"))); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()

		// The end of the file comes when the last process that holds a copy is dead.
		if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := read.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("some process lives on: %v", err)
		}
		read.Close()
	}
}

func TestWhenLabAndWatchdogDieTogetherTheNextRunSweepsTheFolder(t *testing.T) {
	tmp := t.TempDir()
	cmd, told := startLab(t, tmp)

	if removed, err := Sweep(tmp); err != nil || len(removed) > 0 {
		t.Fatalf("the sweep took the folder of a lab that lives: %v, %v", removed, err)
	}
	if err := syscall.Kill(-told.Watchdog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	removed, err := Sweep(tmp)
	if err != nil || len(removed) != 1 || removed[0] != told.Folder {
		t.Errorf("swept %v, %v; want %s", removed, err, told.Folder)
	}
	if _, err := os.Stat(told.Folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestAnOrderlyStopRemovesTheFoldersAndWhateverIsLeft(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a name\nof two lines")
	if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	w := start(t, folder)
	left := exec.Command(os.Args[0], "sleeper")
	left.SysProcAttr = w.SysProcAttr()
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}

	w.Stop()
	w.Stop()

	if err := left.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("what was left ended with %v, want it killed", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestTheLabIsToldOfTheWatchdogsDeath(t *testing.T) {
	w := start(t)
	select {
	case <-w.Done():
		t.Fatal("told of a death before it")
	default:
	}

	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}

	select {
	case <-w.Done():
	case <-time.After(patience):
		t.Fatal("not told")
	}
}

func TestSignalsMeantForTheLabDoNotEndTheWatchdog(t *testing.T) {
	folder := t.TempDir()
	w := start(t, folder)

	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := w.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}

	// Had one of them ended it, nobody would remove the folder.
	w.Stop()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the watchdog did not live to remove the folder: %v", err)
	}
}

func TestAProgramThatIsNoWatchdogIsRefused(t *testing.T) {
	for _, tt := range []struct{ exe, part, want string }{
		{os.Args[0], "mute", "it ended before it was on guard"},
		{os.Args[0], "stranger", `it said "hello\n"`},
		{filepath.Join(t.TempDir(), "nothing"), "", "no such file"},
	} {
		t.Run(tt.part, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			w, err := Start(ctx, tt.exe, []string{tt.part})
			if err == nil {
				w.Stop()
				t.Fatal("taken for a watchdog")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestAWatchdogThatSaysNothingIsWaitedForNoLongerThanTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	// More orders than a pipe holds, so that the sending hangs too.
	_, err := Start(ctx, os.Args[0], []string{"sleeper"}, strings.Repeat("x", 1<<20))

	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestTheWatchdogRefusesToGuardAGroupOfStrangers(t *testing.T) {
	out, err := exec.Command(os.Args[0], "watchdog").CombinedOutput()

	if err == nil || !strings.Contains(string(out), "only for the lab itself") {
		t.Errorf("got %v: %q, want a refusal", err, out)
	}
}

func start(t *testing.T, cleanup ...string) *Watchdog {
	t.Helper()
	w, err := startWatchdog(cleanup...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)

	return w
}

func startLab(t *testing.T, tmp string) (*exec.Cmd, scene) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "lab")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var told scene
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		t.Fatal(err)
	}

	return cmd, told
}

// gone reports whether no process pid runs. A dead one that nobody has reaped, as in a container whose first process
// does not, is gone.
func gone(t *testing.T, pid int) bool {
	t.Helper()
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	state, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output() // fails when there is none

	return len(state) == 0 || strings.HasPrefix(string(state), "Z")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
		<-tick.C
	}
}
