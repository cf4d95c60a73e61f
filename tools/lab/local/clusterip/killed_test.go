package clusterip

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestAServerThatIsKilledLooksLikeItDoesWithoutAProxy(t *testing.T) {
	for name, request := range map[string]string{"with a request unread": "request", "with nothing unread": ""} {
		t.Run(name, func(t *testing.T) {
			direct := afterKill(t, request, func(_ *fixture, pod netip.AddrPort) *net.TCPConn { return dial(t, pod) })
			proxied := afterKill(t, request, func(f *fixture, pod netip.AddrPort) *net.TCPConn {
				f.endpoints("1", ready(pod))
				f.run()
				return f.dial()
			})
			if (request != "") != errors.Is(direct, syscall.ECONNRESET) {
				t.Fatalf("directly, the client sees %v: is this test still right?", direct)
			}
			if errors.Is(proxied, syscall.ECONNRESET) != errors.Is(direct, syscall.ECONNRESET) || errors.Is(proxied, io.EOF) != errors.Is(direct, io.EOF) {
				t.Errorf("the client sees %v, and without a proxy %v", proxied, direct)
			}
		})
	}
}

// afterKill says what a client sees when the process that it is connected to gets
// SIGKILL, with a request in its socket that it has not read.
func afterKill(t *testing.T, request string, connect func(*fixture, netip.AddrPort) *net.TCPConn) error {
	t.Helper()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), fmt.Sprintf("%s=%q", asServer, request))
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	lines := bufio.NewReader(stdout)
	address, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(newFixture(t), netip.MustParseAddrPort(strings.TrimSpace(address)))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	// The server says when it has a connection, and the request is in its socket.
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// serveWithoutReading accepts connections and leaves what comes in them to the kernel.
// request is what each of them brings, in quotes.
func serveWithoutReading(request string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	var open []net.Conn
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		if request != `""` {
			awaitFirstByte(conn)
		}
		open = append(open, conn)
		fmt.Println(len(open), "connected")
	}
}

// awaitFirstByte does not take it.
func awaitFirstByte(conn net.Conn) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		panic(err)
	}
	raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return n > 0 || err == nil
	})
}
