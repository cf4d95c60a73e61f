// Package watchdog sees to it that a lab that dies leaves nothing behind, however it dies: kill -9 included.
//
// The lab starts itself a second time as its watchdog. The watchdog leads a process group of its own, and every
// process that the lab starts for a pod joins that group. The lab holds the only write end of a pipe that the
// watchdog reads. When the lab is gone, for whatever reason, the kernel closes the pipe; the watchdog removes the
// folder of the run and kills its whole group, itself included.
//
// No process can slip through. A child joins the group between fork and exec, and until exec it holds a copy of the
// pipe's write end: the watchdog sees the end of the pipe only when every child is a member. It needs nothing but
// POSIX, so it works on macOS too, where a process cannot ask to be told of its parent's death.
//
// Folders that outlive both (the machine lost power, say) are removed by [Sweep] when the next run starts.
package watchdog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// removalLimit bounds how long the removal of folders may hold up the killing.
const removalLimit = 2 * time.Second

// greeting is what the watchdog prints once it is on guard.
const greeting = "on guard\n"

// Watchdog is the lab's hold on its watchdog process.
type Watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File
	done chan struct{}
}

// Start runs exe with args as the watchdog; that program must call [Main] with its standard input and output. The
// folders in cleanup are removed when the lab ends. Start returns when the watchdog is on guard; ctx bounds that wait
// and nothing else.
func Start(ctx context.Context, exe string, args []string, cleanup ...string) (*Watchdog, error) {
	// No CommandContext: the watchdog must outlive everything, a context too.
	cmd := exec.Command(exe, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	pipe, hello, err := run(cmd)
	if err != nil {
		return nil, fmt.Errorf("start watchdog %s: %w", exe, err)
	}
	w := &Watchdog{cmd: cmd, pipe: pipe, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		_ = cmd.Wait() // it always ends by a signal: its own
	}()

	answered := make(chan struct{})
	go func() {
		defer close(answered)
		err = greet(pipe, hello, cleanup)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
		_ = cmd.Process.Kill() // ends greet too, as its pipes break
		<-answered
		err = ctx.Err()
	}
	err = errors.Join(err, hello.Close())
	if err != nil {
		_ = cmd.Process.Kill() // whatever it is, it does not watch the pipe
		w.Stop()

		return nil, fmt.Errorf("start watchdog %s: %w", exe, err)
	}

	return w, nil
}

// run starts cmd with a pipe to it and a pipe from it. The ends that stay here close on exec, so no other child ever
// holds them.
func run(cmd *exec.Cmd) (to, from *os.File, err error) {
	stdin, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	from, stdout, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, stdin.Close(), to.Close())
	}
	cmd.Stdin, cmd.Stdout = stdin, stdout
	err = errors.Join(cmd.Start(), stdin.Close(), stdout.Close())
	if err != nil {
		return nil, nil, errors.Join(err, to.Close(), from.Close())
	}

	return to, from, nil
}

// greet sends the watchdog its orders and waits for its answer.
func greet(pipe io.Writer, hello io.Reader, cleanup []string) error {
	if err := json.NewEncoder(pipe).Encode(cleanup); err != nil {
		return fmt.Errorf("it ended before it was on guard: %w", err)
	}
	got, err := bufio.NewReader(hello).ReadString('\n')
	if err != nil {
		return fmt.Errorf("it ended before it was on guard: %w", err)
	}
	if got != greeting {
		return fmt.Errorf("it said %q where a watchdog says %q", got, greeting)
	}

	return nil
}

// SysProcAttr is what a process must be started with to be under guard.
func (w *Watchdog) SysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: w.cmd.Process.Pid}
}

// Done is closed when the watchdog is gone. Should that happen before [Watchdog.Stop], nothing is under guard any
// more and the lab must stop.
func (w *Watchdog) Done() <-chan struct{} { return w.done }

// Stop ends the watchdog in good order, which kills whatever is left in its group and removes the cleanup folders. It
// returns when the watchdog is gone. It may be called again.
func (w *Watchdog) Stop() {
	_ = w.pipe.Close()
	<-w.done
}

// Main is the watchdog's own life. It does not return unless it cannot take up its duty: stdin must be the pipe that
// [Start] made, the process the leader of a process group, stdout the place for its greeting.
func Main(stdin io.Reader, stdout io.Writer) error {
	// Started any other way, it would kill a group of strangers.
	if syscall.Getpgrp() != os.Getpid() {
		return errors.New("watchdog: this command is only for the lab itself to start: it must lead a process group of its own")
	}
	// A terminal's Ctrl-C or hang-up is for the lab, which then ends in good order. SIGHUP also comes from the
	// kernel, to a group that has lost its parent while a member is stopped (a frozen pod). SIGPIPE: the lab may be
	// gone already.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)

	orders := bufio.NewReader(stdin)
	line, err := orders.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("watchdog: the lab ended before it gave its orders: %w", err)
	}
	var cleanup []string
	if err := json.Unmarshal(line, &cleanup); err != nil {
		return fmt.Errorf("watchdog: orders %q are not a JSON list of folders: %w", line, err)
	}
	_, _ = io.WriteString(stdout, greeting)

	// Whatever ends the reading, the lab is no longer there.
	_, _ = io.Copy(io.Discard, orders)

	// Folders first, as nothing comes after the kill. A pod that still writes can leave a file behind; Sweep finds
	// it.
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		for _, folder := range cleanup {
			if err := os.RemoveAll(folder); err != nil {
				fmt.Fprintln(os.Stderr, "watchdog:", err)
			}
		}
	}()
	select {
	case <-removed:
	case <-time.After(removalLimit):
	}

	return syscall.Kill(-os.Getpid(), syscall.SIGKILL)
}
