package server

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/inspect"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// Config are the settings that every gRPC server of the suite has. Embed it in a
// program's own; ${port} must be among config.Program's Vars.
type Config struct {
	BindAddress string `placeholder:"IP" help:"Address to listen on. All of them by default."`
	Port        int    `default:"${port}" help:"Port for gRPC, 0 to 65535; 0 takes a free one."`
	AdminPort   int    `default:"8080" help:"Port for HTTP: /metrics, /livez, /readyz. 0 takes a free one."`
	Reflection  bool   `default:"true" negatable:"" help:"Serve gRPC reflection, so that grpcurl works without the .proto files."`

	Inspect inspect.Config `embed:""`

	MaxConnectionAge      time.Duration `default:"0s" help:"Age at which a connection is asked to end (GOAWAY), so that its client connects anew; gRPC adds up to 10 % either way. 0s means never."`
	MaxConnectionAgeGrace time.Duration `default:"0s" help:"How long RPCs on a connection past its age may go on before they are cut. 0s means without end."`
	KeepaliveTime         time.Duration `default:"1m" help:"Silence after which a client is pinged, 1s to 2h."`
	KeepaliveTimeout      time.Duration `default:"20s" help:"How long the answer to a ping may take before the connection is closed, 1s to 2h."`
	KeepaliveMinTime      time.Duration `default:"10s" help:"Shortest interval at which clients may ping. One that pings more often is told ENHANCE_YOUR_CALM."`

	DrainDelay   time.Duration `default:"0s" help:"On SIGTERM: how long to go on serving, already NOT_SERVING, while the endpoint's removal spreads. A preStop sleep does the same earlier; one of the two is enough."`
	DrainTimeout time.Duration `default:"10s" help:"On SIGTERM, after the delay: how long RPCs in flight may take before they are cut. 0s cuts them at once."`

	PodName  string `placeholder:"NAME" help:"Name that answers carry in the header x-served-by. The host's name by default."`
	NodeName string `placeholder:"NAME" help:"Node that answers carry in x-served-by-node."`
	Zone     string `placeholder:"NAME" help:"Zone that answers carry in x-served-by-zone."`
}

// Validate names the first setting that is out of range. kong calls it.
func (c *Config) Validate() error {
	if c.BindAddress != "" && net.ParseIP(c.BindAddress) == nil {
		return fmt.Errorf("--bind-address: %q is not an IP address", c.BindAddress)
	}
	for flag, port := range map[string]int{"port": c.Port, "admin-port": c.AdminPort} {
		if err := config.InRange(flag, port, 0, 65535); err != nil {
			return err
		}
	}
	if c.Port != 0 && c.Port == c.AdminPort {
		return fmt.Errorf("--admin-port: %d is the gRPC port too: give each its own", c.AdminPort)
	}
	if p := c.Inspect.Port; p != 0 && (p == c.Port || p == c.AdminPort) {
		return fmt.Errorf("--inspect-port: %d is another port of this process: give each its own", p)
	}
	// gRPC itself raises a keepalive time of less than a second to a second.
	for flag, d := range map[string]time.Duration{"keepalive-time": c.KeepaliveTime, "keepalive-timeout": c.KeepaliveTimeout} {
		if err := config.InRange(flag, d, time.Second, 2*time.Hour); err != nil {
			return err
		}
	}

	return nil
}

// Identity says who this process is, to its telemetry.
func (c *Config) Identity(service string) telemetry.Identity {
	return telemetry.Identity{
		Service: service, Version: config.Version(), Pod: c.podName(), Node: c.NodeName, Zone: c.Zone,
	}
}

func (c *Config) podName() string {
	if c.PodName != "" {
		return c.PodName
	}
	// A host without a name is served as well as any other.
	host, _ := os.Hostname()

	return host
}

func (c *Config) address(port int) string {
	return net.JoinHostPort(c.BindAddress, strconv.Itoa(port))
}
