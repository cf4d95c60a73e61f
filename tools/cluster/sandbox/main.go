//go:build linux

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Main is process 1. It reads its Spec from input, where it comes once the network is
// there. It returns only when something is wrong with the sandbox as a whole.
//
// An input that ends without a Spec is the sign that whoever started the sandbox died
// before writing down that it did: no one would ever find it again.
func Main(input io.Reader) error {
	if os.Getpid() != 1 {
		return errors.New("sandbox: this command is started by `cluster up`, as process 1 of its own namespaces")
	}
	var spec Spec
	if err := json.NewDecoder(input).Decode(&spec); err != nil {
		return fmt.Errorf("sandbox: no specification: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := mountAll(spec); err != nil {
		return err
	}
	components := controlPlane()
	if spec.Node > 0 {
		if err := prepareNode(spec); err != nil {
			return err
		}
		components = node(spec)
	}

	s := newSupervisor(spec, components)
	go s.processes.reap() // for as long as the sandbox lives

	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(Port)))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}

	return server.Serve(listener)
}
