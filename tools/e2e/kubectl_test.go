//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// kubectl runs kubectl at the root of the source tree, and returns what it prints. A warning of the API server is
// an error too: what is applied here is to have none.
func kubectl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "kubectl", args...)
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = root
	command.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s", command, err, stderr.String())
	}
	if strings.Contains(stderr.String(), "Warning:") {
		return stdout.String(), fmt.Errorf("%s: %s", command, stderr.String())
	}

	return stdout.String(), nil
}

// must runs kubectl, and what it prints is returned.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}

	return out
}

// patience is how long anything may take to come about.
const patience = 2 * time.Minute

// eventually waits until a condition holds. Its last error says why it does not.
func eventually(ctx context.Context, condition func(context.Context) error) error {
	return within(ctx, patience, condition)
}

func within(ctx context.Context, limit time.Duration, condition func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)

		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("not in %s: %w", limit, last)
	}

	return nil
}
