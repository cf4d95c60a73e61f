package server

import (
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// connectionMetrics count connections where they are accepted. A stats.Handler would hear of
// them, too, and of every RPC besides, which costs more than the RPCs of a small server should.
type connectionMetrics struct {
	open   prometheus.Gauge
	opened prometheus.Counter
}

func newConnectionMetrics(registry *prometheus.Registry) connectionMetrics {
	m := connectionMetrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "evenkeel_server_connections",
			Help: "Open connections to the gRPC port, those of probes among them.",
		}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evenkeel_server_connections_opened_total",
			Help: "Connections that were accepted on the gRPC port, those of probes among them.",
		}),
	}
	registry.MustRegister(m.open, m.opened)

	return m
}

func newDrainingMetric(registry *prometheus.Registry) prometheus.Gauge {
	draining := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "evenkeel_server_draining",
		Help: "1 from SIGTERM on, 0 before.",
	})
	registry.MustRegister(draining)

	return draining
}

// countedListener counts the connections that it accepts until they are closed.
type countedListener struct {
	net.Listener

	metrics connectionMetrics
	// userTimeout is what gRPC would set as TCP_USER_TIMEOUT on a connection (gRFC A18) if it saw that
	// it is TCP's.
	userTimeout time.Duration
}

// Accept waits for the next connection.
func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Without it a dead peer is noticed later, by keepalive alone.
		_ = setUserTimeout(tcp, l.userTimeout)
	}
	l.metrics.opened.Inc()
	l.metrics.open.Inc()

	return &countedConn{Conn: conn, closed: sync.OnceFunc(l.metrics.open.Dec)}, nil
}

// countedConn is a connection that is counted as open.
type countedConn struct {
	net.Conn

	closed func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.closed()

	return c.Conn.Close()
}
