package kubernetes

import (
	"flag"
	"io"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/grpclog"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Go's default is the number of processors, and what runs here waits most of the time. See turns.
	if err := flag.Set("test.parallel", "1000"); err != nil {
		panic(err)
	}
	// kuberesolver reports to gRPC's log only, and is in trouble on purpose.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	goleak.VerifyTestMain(m,
		// kuberesolver's Close does not wait for the goroutine that reads the stream.
		goleak.IgnoreAnyFunction("github.com/sercand/kuberesolver/v5.(*streamWatcher).receive"))
}
