package interrupt_test

import (
	"context"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/internal/interrupt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASignalEndsTheContext(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		ctx, stop := interrupt.Context(context.Background())
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		stop()
	}
}

func TestTheEndOfTheParentEndsTheContext(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	ctx, stop := interrupt.Context(parent)
	defer stop()
	cancel()
	select {
	case <-ctx.Done():
	case <-t.Context().Done():
		t.Error("the context outlives its parent")
	}
}
