//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// forwarding is held by whoever forwards the port that all READMEs name.
var forwarding sync.Mutex

// runsItsREADME runs the commands in the overlay's README one after the other. The first of them apply it.
func (o overlay) runsItsREADME(t *testing.T) {
	commands, err := o.commands()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if err := o.runs(t.Context(), command); err != nil {
			events, _ := kubectl(t.Context(), "-n", o.name, "get", "pods,events") // it helps, if there is any
			t.Fatalf("%v\n%s", err, events)
		}
		t.Logf("ran: %s", command)
		if strings.Contains(command, " apply ") {
			if err := o.slowDown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// commands are the lines of the README's blocks of shell.
func (o overlay) commands() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, "kustomize", "overlays", o.name, "README.md"))
	if err != nil {
		return nil, err
	}
	var commands []string
	shell := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			shell = line == "```sh"
		case shell && line != "":
			commands = append(commands, line)
		}
	}
	if len(commands) < 4 {
		return nil, fmt.Errorf("README.md has %d commands", len(commands))
	}

	return commands, nil
}

// runs runs a command as it is written, but for NAME, which stands for a pod of rng. What a Deployment is told to
// do is waited for.
func (o overlay) runs(ctx context.Context, command string) error {
	if strings.Contains(command, "port-forward") {
		return o.forwards(ctx, command)
	}
	if strings.Contains(command, " NAME") {
		pods, err := o.pods(ctx, "rng")
		if err != nil || len(pods) == 0 {
			return fmt.Errorf("no pod of rng to put for NAME: %w", err)
		}
		command = strings.Replace(command, " NAME", " "+pods[0].Name, 1)
	}
	out, err := run(ctx, "bash", "-euo", "pipefail", "-c", command)
	if err != nil {
		// --force says in a warning what it does.
		if !strings.Contains(command, "--force") || !strings.Contains(err.Error(), "Immediate deletion") {
			return err
		}
	}
	if strings.TrimSpace(out) == "" {
		return fmt.Errorf("%s: prints nothing", command)
	}

	return o.settled(ctx, "rng")
}

// forwards runs a port-forward in the background, looks at the page that the README names, and ends it with Ctrl-C.
func (o overlay) forwards(ctx context.Context, command string) (err error) {
	forwarding.Lock()
	defer forwarding.Unlock()
	shell := exec.CommandContext(ctx, "bash", "-c", "exec "+command)
	shell.Dir = root
	shell.Cancel = func() error { return shell.Process.Signal(syscall.SIGINT) }
	shell.WaitDelay = 5 * time.Second
	if err := shell.Start(); err != nil {
		return err
	}
	defer func() {
		_ = shell.Process.Signal(syscall.SIGINT)
		_ = shell.Wait() // it ends by the signal
	}()
	var transport http.Transport
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: &transport, Timeout: 5 * time.Second}

	return within(ctx, 20*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:8080", http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(page), "<title>")) {
			err = errors.New("http://localhost:8080 answers " + response.Status)
		}

		return err
	})
}
