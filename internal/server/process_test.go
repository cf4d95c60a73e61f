package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// beServer makes the test binary run as a server instead of running tests, so that
// draining is tested on a real process with real signals.
const beServer = "EVENKEEL_TEST_BE_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(beServer) != "" {
		os.Exit(serve())
	}
	goleak.VerifyTestMain(m)
}

type settings struct {
	Server    server.Config    `embed:""`
	Telemetry telemetry.Config `embed:""`
}

func serve() int {
	var cfg settings
	config.MustParse(&cfg, config.Program{Name: "test-server", Vars: map[string]string{"port": "0"}})

	return server.Main("test-server", cfg.Server, cfg.Telemetry,
		func(_ context.Context, s *server.Server) (func(), error) {
			rngv1.RegisterRngServiceServer(s.GRPC, slowRng{})

			return nil, nil
		})
}

// slowRng takes as long as it is asked to.
type slowRng struct {
	rngv1.UnimplementedRngServiceServer
}

// Roll answers after max milliseconds; a negative max panics.
func (slowRng) Roll(_ context.Context, req *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if req.GetMax() < 0 {
		panic("asked to")
	}
	<-time.After(time.Duration(req.GetMax()) * time.Millisecond)

	return &rngv1.RollResponse{Values: []int64{req.GetMax()}}, nil
}

// RollStream sends one message and then nothing until the stream is cut.
func (slowRng) RollStream(_ *rngv1.RollStreamRequest, s grpc.ServerStreamingServer[rngv1.RollStreamResponse]) error {
	if err := s.Send(&rngv1.RollStreamResponse{Value: 1}); err != nil {
		return err
	}
	<-s.Context().Done()

	return s.Context().Err()
}

// process is a server that runs as a process of its own.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	grpc, admin string
	exited      chan struct{}
	mu          sync.Mutex
	log         []string
}

// start runs a server and waits until it serves.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, exited: make(chan struct{})}
	p.cmd = exec.Command(testBinary(), append([]string{"--bind-address=127.0.0.1", "--admin-port=0"}, args...)...)
	p.cmd.Env = append(os.Environ(), beServer+"=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	go func() {
		defer close(p.exited)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			p.mu.Unlock()
			var line struct{ Msg, Grpc, Admin string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				p.grpc, p.admin = line.Grpc, line.Admin
				close(serving)
			}
		}
		_ = p.cmd.Wait() // the state is read from cmd.ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has most often exited
		<-p.exited
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, line := range p.log {
				t.Log(line)
			}
		}
	})
	select {
	case <-serving:
	case <-p.exited:
		t.Fatal("the server exited before it served")
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not serve")
	}

	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns how the process ended.
func (p *process) wait() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		p.t.Fatal("the server does not exit")
	}

	return p.cmd.ProcessState
}

func (p *process) dial() *grpc.ClientConn {
	p.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := cc.Close(); err != nil {
			p.t.Error(err)
		}
	})

	return cc
}

func (p *process) url(path string) string { return fmt.Sprintf("http://%s%s", p.admin, path) }

func testBinary() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}

	return exe
}
