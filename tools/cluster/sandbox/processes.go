//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"path"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes are the children of process 1. Process 1 is also given the children of
// whatever dies around it, such as the shims of a containerd that was killed, so it
// collects all that end, and os/exec, which waits for its own, is not used here.
type processes struct {
	mu      sync.Mutex
	running map[int]*process
}

type process struct {
	pid  int
	done chan struct{}   // closed when it has ended
	end  unix.WaitStatus // how, once it has
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ending says how a process ended, such as "exit status 1" or "killed".
func (p *process) ending() string {
	if p.end.Signaled() {
		return p.end.Signal().String()
	}

	return fmt.Sprintf("exit status %d", p.end.ExitStatus())
}

func logFile(sandbox, name string) string { return path.Join(logs, sandbox+"-"+name+".log") }

// start runs a program with its output appended to NAME.log of the sandbox.
func (p *processes) start(sandbox, name, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile(sandbox, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()

	// Locked, so that a process that ends at once is known before it is collected.
	p.mu.Lock()
	defer p.mu.Unlock()
	started, err := os.StartProcess(program, append([]string{name}, args...), &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"},
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	child := &process{pid: started.Pid, done: make(chan struct{})}
	p.running[child.pid] = child

	return child, started.Release()
}

// reap collects every process that ends.
func (p *processes) reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	for range ended { // one signal may stand for several
		for p.reapOne() {
		}
	}
}

func (p *processes) reapOne() bool {
	// Not collected before start has written it down.
	p.mu.Lock()
	defer p.mu.Unlock()
	var end unix.WaitStatus
	pid, err := unix.Wait4(-1, &end, unix.WNOHANG, nil)
	if err == unix.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if child, ok := p.running[pid]; ok {
		child.end = end
		delete(p.running, pid)
		close(child.done)
	}

	return true
}
