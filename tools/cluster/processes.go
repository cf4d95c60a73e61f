//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

// signal sends a signal to all processes of a sandbox but the first, which answers for it, and
// those in pods, which have process namespaces of their own.
func (m member) signal(signal unix.Signal) error {
	var errs []error
	for inner, pid := range m.outerPIDs() {
		if inner == 1 {
			continue
		}
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("%s to process %d of %s: %w", signal, pid, m.Name, err))
		}
	}

	return errors.Join(errs...)
}

// stop lets the same processes stand still.
func (m member) stop() error {
	return within(5*time.Second, func() error {
		// Again and again, for one may have started another meanwhile.
		if err := m.signal(unix.SIGSTOP); err != nil {
			return err
		}
		for inner, pid := range m.outerPIDs() {
			if inner != 1 && !still(pid) {
				return fmt.Errorf("process %d of %s does not stop", pid, m.Name)
			}
		}

		return nil
	})
}

// still is true of a process that is stopped, or has ended.
func still(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	rest, ok := afterLast(string(stat), ") ")

	return ok && rest != "" && slices.Contains([]byte("TZX"), rest[0])
}

const apiServerComponent = "kube-apiserver"

// leaders are the components that are elected to be one in other clusters. There, whoever cannot renew its lease for ten
// seconds ends, and is started again (kubeadm's defaults). Here nobody is elected, so they would go on, with watches that
// come back up to half a minute after the API server: late enough to find every node silent for too long.
var leaders = []string{"kube-controller-manager", "kube-scheduler"}

// loseAPIServer stops or kills the API server of the control plane, and ends the leaders.
func (m member) loseAPIServer(ctx context.Context, onlyStop bool) error {
	one, err := m.component(ctx, apiServerComponent)
	if err != nil {
		return err
	}
	if one.Problem != "" {
		return fmt.Errorf("%s does not work as it is: %s", one.Name, one.Problem)
	}
	lost := leaders
	if onlyStop {
		pid, ok := m.outerPIDs()[one.PID]
		if !ok {
			return fmt.Errorf("%s has just ended", one.Name)
		}
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return err
		}
	} else {
		lost = append([]string{apiServerComponent}, leaders...)
	}
	for _, name := range lost {
		if err := m.killComponent(ctx, name); err != nil {
			return err
		}
	}

	return nil
}

// killComponent ends a component, if it runs, and waits until the sandbox knows: until then it would not start it again.
func (m member) killComponent(ctx context.Context, name string) error {
	one, err := m.component(ctx, name)
	if err != nil {
		return err
	}
	pid, ok := m.outerPIDs()[one.PID]
	if one.PID == 0 || !ok {
		return nil
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}

	return within(5*time.Second, func() error {
		one, err := m.component(ctx, name)
		if err == nil && one.PID != 0 {
			err = fmt.Errorf("%s was killed and has not ended", name)
		}

		return err
	})
}

// component is what the sandbox tells of one.
func (m member) component(ctx context.Context, name string) (sandbox.Component, error) {
	var all []sandbox.Component
	if err := m.ask(ctx, http.MethodGet, "/status", nil, &all); err != nil {
		return sandbox.Component{}, err
	}
	for _, one := range all {
		if one.Name == name {
			return one, nil
		}
	}

	return sandbox.Component{}, fmt.Errorf("%s has no %s", m.Name, name)
}
