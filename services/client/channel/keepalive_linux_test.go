package channel_test

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/services/client/channel"
)

// gRFC A18: with keepalive, data that is not acknowledged ends a connection when the keepalive timeout is over, which is
// long before TCP itself gives up. The kernel says what it was told.
func TestKeepaliveHasTheKernelGiveUpInItsTimeout(t *testing.T) {
	target, _ := start(t, &pod{names: []string{"rng-0"}})
	for name, test := range map[string]struct {
		keepalive channel.Keepalive
		want      int // milliseconds; 0 is the kernel's own
	}{
		"without": {channel.Keepalive{Timeout: 3 * time.Second}, 0},
		"with":    {channel.Keepalive{Time: 10 * time.Second, Timeout: 3 * time.Second}, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			var socket *net.TCPConn
			conn, err := channel.New(channel.Strategy{Target: target}, test.keepalive.DialOption(),
				grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
					if err == nil {
						socket, _ = c.(*net.TCPConn)
					}

					return c, err
				}))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
			raw, err := socket.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var got int
			var optErr error
			if err := raw.Control(func(fd uintptr) {
				got, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			}); err != nil || optErr != nil {
				t.Fatal(err, optErr)
			}
			if got != test.want {
				t.Errorf("TCP_USER_TIMEOUT is %d ms, want %d", got, test.want)
			}
		})
	}
}
