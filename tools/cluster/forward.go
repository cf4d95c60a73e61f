//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

type forwardCommand struct {
	Namespace string   `short:"n" default:"default" help:"Namespace of the Services."`
	Forwards  []string `arg:"" name:"local:service/port" help:"Port on 127.0.0.1, Service, and port of the Service by number or name, such as 8080:client/http-admin."`
}

// forwarding is one port that is forwarded.
type forwarding struct {
	local         int
	service, port string
}

func parseForwarding(text string) (forwarding, error) {
	wrong := func(what string) (forwarding, error) {
		return forwarding{}, fmt.Errorf("forward %q: %s; it is LOCAL:SERVICE/PORT, such as 8080:client/http-admin", text, what)
	}
	local, rest, ok := strings.Cut(text, ":")
	if !ok {
		return wrong("no colon")
	}
	service, port, ok := strings.Cut(rest, "/")
	if !ok || service == "" || port == "" {
		return wrong("no SERVICE/PORT after the colon")
	}
	if strings.ContainsAny(service+port, "./: ") {
		return wrong("SERVICE and PORT are names (see --namespace)")
	}
	number, err := strconv.ParseUint(local, 10, 16)
	if err != nil || number == 0 {
		return wrong("LOCAL is not 1 to 65535")
	}

	return forwarding{local: int(number), service: service, port: port}, nil
}

// Validate is called by kong, before anything is looked for.
func (f forwardCommand) Validate() error {
	for _, text := range f.Forwards {
		if _, err := parseForwarding(text); err != nil {
			return err
		}
	}

	return nil
}

func (f forwardCommand) Run(ctx context.Context, c *cluster) error {
	r, err := c.running()
	if err != nil {
		return err
	}
	// A node's network, for that is where Services work.
	node, err := r.node(1)
	if err != nil {
		return err
	}
	var listeners []net.Listener
	var targets []target
	for _, text := range f.Forwards {
		one, err := parseForwarding(text)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(one.local)))
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close() }()
		listeners = append(listeners, listener)
		targets = append(targets, target{forwarding: one, namespace: f.Namespace, dialer: node.dialer()})
	}

	var all sync.WaitGroup
	for i, listener := range listeners {
		fmt.Fprintf(os.Stderr, "http://%s -> %s/%s of %s\n", listener.Addr(), targets[i].service, targets[i].port, f.Namespace)
		all.Go(func() { serve(ctx, listener, targets[i]) })
	}
	<-ctx.Done()
	for _, listener := range listeners {
		_ = listener.Close()
	}
	all.Wait()

	return nil
}

// serve connects each that comes to the target, and returns when the listener is closed
// and the last connection has ended.
func serve(ctx context.Context, listener net.Listener, t target) {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		connections.Go(func() {
			defer func() { _ = near.Close() }()
			far, err := t.connect(ctx)
			if err != nil {
				fmt.Fprintf(os.Stderr, "cluster: %v\n", err)

				return
			}
			defer func() { _ = far.Close() }()
			join(ctx, near, far)
		})
	}
}

// target is a port of a Service. It is looked up for each connection, since the Service may
// be deleted and made anew.
type target struct {
	forwarding

	namespace string
	dialer    network.Dialer
}

func (t target) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	host := fmt.Sprintf("%s.%s.svc.cluster.local.", t.service, t.namespace)
	port := t.port
	resolver := t.dialer.Resolver()
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		_, records, err := resolver.LookupSRV(ctx, port, "tcp", host)
		if err != nil {
			return nil, fmt.Errorf("port %s of %s: %w", t.port, host, err)
		}
		port = strconv.Itoa(int(records[0].Port))
	}
	addresses, err := resolver.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}

	return t.dialer.DialContext(ctx, "tcp", net.JoinHostPort(addresses[0], port))
}

// join copies both ways until both have ended, or ctx has.
func join(ctx context.Context, near, far net.Conn) {
	stop := context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // it ends when either side does
			// Half of a connection can end before the other.
			if half, ok := way[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
