// Package inspecttest has what tests need that start a process with an inspect port.
package inspecttest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort is a port for --inspect-port, for which 0 is none. It is one of those that the kernel gives to nobody who
// does not ask for it, so it is still free when the process takes it.
func FreePort(tb testing.TB) (port, address string) {
	tb.Helper()
	for range 100 {
		port = strconv.Itoa(10_000 + rand.IntN(20_000)) // below Linux's ip_local_port_range, and RFC 6335's
		address = net.JoinHostPort("127.0.0.1", port)
		if listener, err := net.Listen("tcp4", address); err == nil {
			_ = listener.Close() // nobody has connected

			return port, address
		}
	}
	tb.Fatal("no port is free")

	return "", ""
}
