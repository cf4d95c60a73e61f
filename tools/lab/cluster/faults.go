package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A fault that Kubernetes has no request for is a command of tools/cluster, which says on its first line that the fault
// is in force, and ends the fault when its standard input ends. So no fault outlives the lab.

// faultTimeout bounds how long a fault may take to begin or to end. An API server starts again in some seconds.
const faultTimeout = 30 * time.Second

// fault begins a fault, which ends with the phase.
func (a *act) fault(args ...string) error {
	end, err := a.begin(a.ctx, append(args, "--until-eof")...)
	if err != nil {
		return err
	}
	a.later(func(context.Context) error { return end() })

	return nil
}

// once does something to the cluster that has no end, or begins a fault and ends it at once.
func (e *Environment) once(ctx context.Context, args ...string) error {
	end, err := e.begin(ctx, args...)
	if err != nil {
		return err
	}

	return end()
}

// begin returns when a fault is in force.
func (e *Environment) begin(ctx context.Context, args ...string) (end func() error, err error) {
	// It must outlive ctx: Ctrl-C ends it in its turn, by its standard input.
	command := exec.CommandContext(context.WithoutCancel(ctx), e.options.Tool, append([]string{"fault"}, args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	var complaint bytes.Buffer
	command.Stderr = &complaint
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	failed := func(err error) error {
		return fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.Join(strings.Fields(complaint.String()), " "))
	}
	late := time.AfterFunc(faultTimeout, func() { _ = command.Process.Kill() }) // or it has just ended
	_, readErr := bufio.NewReader(output).ReadString('\n')
	inTime := late.Stop()
	if readErr != nil || !inTime {
		_ = input.Close()
		if err := command.Wait(); err != nil {
			return nil, failed(err)
		}

		return nil, failed(io.ErrUnexpectedEOF)
	}

	return func() error {
		late := time.AfterFunc(faultTimeout, func() { _ = command.Process.Kill() })
		defer late.Stop()
		_ = input.Close()
		if err := command.Wait(); err != nil {
			return failed(err)
		}

		return nil
	}, nil
}
