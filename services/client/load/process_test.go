package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/evenkeel/evenkeel/internal/servedby"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// serverVariable, in the environment, makes the test binary a server.
const serverVariable = "EVENKEEL_LOAD_TEST_SERVER"

// startProcess starts a server as a process of its own, so that what the client
// does with its memory is the client's alone, and says where it listens.
func startProcess(b *testing.B) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	stop, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stop.Close()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}

	return strings.TrimSpace(address)
}

// serve is the server's process. It ends with its standard input, so it does not
// outlive the benchmark.
func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	rngv1.RegisterRngServiceServer(server, diceServer{})
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()

	return server.Serve(listener)
}

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// diceServer answers as the real one does, its header included.
type diceServer struct {
	rngv1.UnimplementedRngServiceServer
}

func (diceServer) Roll(ctx context.Context, _ *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs(servedby.Pod, "rng-0")); err != nil {
		return nil, err
	}

	return &rngv1.RollResponse{Values: []int64{4}}, nil
}
