package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

// Process is a program that runs.
type Process interface {
	PID() int
	// Signal fails when the process is gone.
	Signal(sig syscall.Signal) error
	// Done is closed when the process is gone.
	Done() <-chan struct{}
	// ExitCode is for when it is gone: 128 and the signal's number after a signal, as containers have it.
	ExitCode() int
}

// starter starts real processes.
func starter(attr *syscall.SysProcAttr) func(podspec.Command, string, *os.File) (Process, error) {
	return func(command podspec.Command, folder string, log *os.File) (Process, error) {
		cmd := exec.Command(command.Path, command.Args...)
		cmd.Dir = folder
		cmd.Env = slices.Concat(command.Env, []string{"TMPDIR=" + folder})
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = attr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		p := &process{cmd: cmd, done: make(chan struct{})}
		go func() {
			defer close(p.done)
			_ = cmd.Wait() // what it says is in cmd.ProcessState
		}()

		return p, nil
	}
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) PID() int                        { return p.cmd.Process.Pid }
func (p *process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }
func (p *process) Done() <-chan struct{}           { return p.done }

func (p *process) ExitCode() int {
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}

	return p.cmd.ProcessState.ExitCode()
}

// start starts the container of w in a folder of its own.
func (w *worker) start() (Process, error) {
	pod, ok := w.pod()
	if !ok {
		return nil, errors.New("the pod is no longer in the store")
	}
	command, err := w.kubelet.command(w.withAddress(pod))
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(w.kubelet.opts.Folder, w.key.namespace, w.key.name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(w.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	process, err := w.kubelet.opts.Start(command, folder, log)
	if closeErr := log.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close log: %w", closeErr)
	}

	return process, err
}

func (w *worker) logPath() string { return w.kubelet.LogPath(w.key.namespace, w.key.name) }

const tailBytes, tailLines = 2048, 10

// tail is the last lines of a log; "" when there is none.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	whole := true
	if _, err := file.Seek(-tailBytes, io.SeekEnd); err == nil {
		whole = false
	}
	end, err := io.ReadAll(io.LimitReader(file, tailBytes))
	if err != nil {
		return ""
	}
	if !whole {
		if _, after, found := bytes.Cut(end, []byte("\n")); found {
			end = after // the first line is not whole
		}
	}
	lines := strings.Split(strings.TrimRight(string(end), "\n"), "\n")

	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
