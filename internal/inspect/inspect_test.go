package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	channelz "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/evenkeel/evenkeel/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThePortIsOffUnlessAskedFor(t *testing.T) {
	var settings struct {
		Inspect Config `embed:""`
	}
	exit := func(int) { t.Error("exited") }
	if _, err := config.Parse(nil, &settings, config.Program{Name: "test"}, io.Discard, io.Discard, exit); err != nil {
		t.Fatal(err)
	}
	server, err := Listen(settings.Inspect, slog.New(slog.DiscardHandler))
	if server != nil || err != nil {
		t.Fatalf("got %v, %v, want neither", server, err)
	}
	server.Start()
	server.Close()
}

func TestAPortThatIsNoneIsRefused(t *testing.T) {
	for _, port := range []string{"-1", "65536"} {
		var settings struct {
			Inspect Config `embed:""`
		}
		_, err := config.Parse([]string{"--inspect-port=" + port}, &settings, config.Program{Name: "test"}, io.Discard, io.Discard, nil)
		if want := "--inspect-port: " + port + " is out of range: give 0 to 65535"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", port, err, want)
		}
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	server := open(t)
	_, port, err := net.SplitHostPort(server.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Port: number}, slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EADDRINUSE) ||
		!strings.HasPrefix(err.Error(), "inspect port: ") {
		t.Errorf("got %v", err)
	}
}

func TestOnly127001ReachesThePort(t *testing.T) {
	server := open(t)
	_, port, err := net.SplitHostPort(server.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got := server.listener.Addr().String(); got != "127.0.0.1:"+port {
		t.Errorf("it listens on %s", got)
	}
	others := []string{"127.0.0.2", "::1"}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range interfaces {
		if ip, ok := address.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			others = append(others, ip.IP.String())
		}
	}
	for _, host := range others {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s reaches it", host)
		}
	}
}

func TestItServesChannelzReflectionAndWhatIsAdded(t *testing.T) {
	conn := dial(t, open(t, func(r grpc.ServiceRegistrar) {
		grpc_health_v1.RegisterHealthServer(r, health.NewServer())
	}))
	servers, err := channelz.NewChannelzClient(conn).GetServers(t.Context(), &channelz.GetServersRequest{})
	if err != nil || len(servers.GetServer()) == 0 {
		t.Errorf("channelz: %v, %v", servers, err)
	}
	_, answer := reflect(t, conn)
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{"grpc.channelz.v1.Channelz", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
}

func TestWhoLooksOnDoesNotHoldTheEndUp(t *testing.T) {
	server := open(t)
	// The answer shows that the stream has reached the server, which then waits for more.
	stream, _ := reflect(t, dial(t, server))
	closed := make(chan struct{})
	go func() {
		server.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the stream")
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
}

func TestTheLogNamesThePortAndNothingElse(t *testing.T) {
	var log bytes.Buffer
	server, err := listen(0, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	server.Close()
	// The end may come before the beginning: that is no news.
	if want := "inspect=" + server.listener.Addr().String() + "\n"; !strings.HasSuffix(log.String(), want) || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("got %s, want a line with %s", &log, want)
	}
}

// reflect asks which services there are, on a stream that stays.
func reflect(t *testing.T, conn *grpc.ClientConn) (reflection.ServerReflection_ServerReflectionInfoClient, *reflection.ServerReflectionResponse) {
	t.Helper()
	stream, err := reflection.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}

	return stream, answer
}

// open serves on a free port until the test ends.
func open(t *testing.T, services ...func(grpc.ServiceRegistrar)) *Server {
	t.Helper()
	server, err := listen(0, slog.New(slog.DiscardHandler), services...)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)

	return server
}

func dial(t *testing.T, server *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+server.listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state.String() != "READY"; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatal("no connection")
		}
	}
	t.Cleanup(func() { _ = conn.Close() })

	return conn
}
