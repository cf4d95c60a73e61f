//go:build !linux

package server

import (
	"net"
	"time"
)

// setUserTimeout does nothing: gRPC has no such timeout here either.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
