// Package kubelettest has pods for tests: a machine whose processes only pretend, for tests under the clock of
// testing/synctest, and a small real server, for tests with real processes.
package kubelettest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

// Behaviour is how processes behave. Those that run keep the one that they were started with.
type Behaviour struct {
	// Warmup is how long a process is not healthy after its start.
	Warmup time.Duration
	// Drain is how long a process lives on after SIGTERM.
	Drain time.Duration
	// Deaf processes do not end on SIGTERM.
	Deaf bool
	// Crash, if not 0, is how long a process lives before it exits by itself with code 1.
	Crash time.Duration
	// Broken is the error of every start.
	Broken error
}

// Machine runs processes that only pretend.
type Machine struct {
	begun time.Time

	mu        sync.Mutex
	behaviour Behaviour
	processes map[string]*process // the latest of each pod
	events    map[string][]string
	pids      int
}

// NewMachine returns a machine without processes. Its time starts now.
func NewMachine() *Machine {
	return &Machine{begun: time.Now(), processes: make(map[string]*process), events: make(map[string][]string)}
}

// Behave is how processes behave that are started from now on.
func (m *Machine) Behave(b Behaviour) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behaviour = b
}

// Start is for kubelet.Options.
func (m *Machine) Start(command podspec.Command, _ string, _ *os.File) (kubelet.Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.behaviour
	if b.Broken != nil {
		return nil, b.Broken
	}
	m.pids++
	p := &process{
		machine: m, pid: m.pids, pod: variable(command, "HOSTNAME"), behaviour: b,
		healthyAt: time.Now().Add(b.Warmup), done: make(chan struct{}),
	}
	m.processes[p.pod] = p
	m.note(p.pod, "start")
	if b.Crash > 0 {
		time.AfterFunc(b.Crash, func() { p.exit(1) })
	}

	return p, nil
}

// Check is for kubelet.Options. Every probe of a pod has the same answer.
func (m *Machine) Check(ctx context.Context, pod *corev1.Pod, _ *corev1.Probe) error {
	m.mu.Lock()
	p := m.processes[pod.Name]
	var thaw chan struct{}
	if p != nil {
		thaw = p.thaw
	}
	m.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == nil || p.gone || time.Now().Before(p.healthyAt) {
		return errors.New("not healthy")
	}

	return nil
}

// SetHealthy says how a pod answers probes from now on.
func (m *Machine) SetHealthy(pod string, healthy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := time.Now()
	if !healthy {
		at = at.AddDate(1, 0, 0)
	}
	m.processes[pod].healthyAt = at
}

// Exit lets the process of a pod exit by itself.
func (m *Machine) Exit(pod string, code int) {
	m.mu.Lock()
	p := m.processes[pod]
	m.mu.Unlock()
	p.exit(code)
}

// Running has the pods whose process runs, sorted.
func (m *Machine) Running() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var pods []string
	for pod, p := range m.processes {
		if !p.gone {
			pods = append(pods, pod)
		}
	}
	slices.Sort(pods)

	return pods
}

// Events has what happened to the processes of a pod, each with the time since the machine began, such as "start@0s",
// "SIGTERM@5s" and "exit 0@10s".
func (m *Machine) Events(pod string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()

	return slices.Clone(m.events[pod])
}

func (m *Machine) note(pod, event string) {
	m.events[pod] = append(m.events[pod], fmt.Sprintf("%s@%v", event, time.Since(m.begun)))
}

func variable(command podspec.Command, name string) string {
	for _, each := range command.Env {
		if value, ok := strings.CutPrefix(each, name+"="); ok {
			return value
		}
	}

	return ""
}

// process is one that pretends. The lock of its machine is its lock.
type process struct {
	machine   *Machine
	pid       int
	pod       string
	behaviour Behaviour
	healthyAt time.Time
	thaw      chan struct{} // nil unless frozen
	done      chan struct{}
	gone      bool
	code      int
}

func (p *process) PID() int              { return p.pid }
func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) ExitCode() int {
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()

	return p.code
}

var names = map[syscall.Signal]string{
	syscall.SIGTERM: "SIGTERM", syscall.SIGKILL: "SIGKILL", syscall.SIGSTOP: "SIGSTOP", syscall.SIGCONT: "SIGCONT",
}

func (p *process) Signal(sig syscall.Signal) error {
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()
	if p.gone {
		return os.ErrProcessDone
	}
	p.machine.note(p.pod, names[sig])
	switch sig {
	case syscall.SIGKILL:
		p.end(128 + int(sig))
	case syscall.SIGTERM:
		if !p.behaviour.Deaf {
			time.AfterFunc(p.behaviour.Drain, func() { p.exit(0) })
		}
	case syscall.SIGSTOP:
		if p.thaw == nil {
			p.thaw = make(chan struct{})
		}
	case syscall.SIGCONT:
		if p.thaw != nil {
			close(p.thaw)
			p.thaw = nil
		}
	}

	return nil
}

func (p *process) exit(code int) {
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()
	if !p.gone {
		p.machine.note(p.pod, fmt.Sprintf("exit %d", code))
		p.end(code)
	}
}

// end is called with the lock held.
func (p *process) end(code int) {
	p.gone, p.code = true, code
	close(p.done)
}

// Addresses hands out addresses of 127.0.0.0/8 that no other test process on the machine hands out, most likely: two
// bytes come from the process's id.
type Addresses struct {
	mu     sync.Mutex
	next   byte
	inUse  map[netip.Addr]bool
	broken error
}

// New is for kubelet.Options.
func (a *Addresses) New(string) (netip.Addr, func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return netip.Addr{}, nil, a.broken
	}
	a.next++
	pid := os.Getpid()
	addr := netip.AddrFrom4([4]byte{127, byte(pid>>8)%100 + 100, byte(pid), a.next})
	if a.inUse == nil {
		a.inUse = make(map[netip.Addr]bool)
	}
	a.inUse[addr] = true

	return addr, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.inUse[addr] {
			panic(fmt.Sprintf("%v is released a second time", addr))
		}
		delete(a.inUse, addr)
	}, nil
}

// Break makes every New fail from now on.
func (a *Addresses) Break(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = err
}

// InUse counts the addresses that are not released.
func (a *Addresses) InUse() int {
	a.mu.Lock()
	defer a.mu.Unlock()

	return len(a.inUse)
}
