// Command geoip says where IP addresses are, over gRPC: the service
// geoip.v1.GeoipService. It answers from a database of the MaxMind DB format: the
// one in --database, read again whenever that file changes, or else one of
// countries that is embedded in it.
package main

import (
	"context"
	"os"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// settings are what the flags and the environment say.
type settings struct {
	config.Common
	server.Config
	Telemetry telemetry.Config `embed:""`

	Database string `type:"existingfile" placeholder:"FILE" help:"Database to answer from, in the MaxMind DB format (.mmdb): of countries, cities or autonomous systems. It is read again when it changes; one that cannot be read is refused and the version before serves on. It is held in memory. By default the embedded database of countries."`
}

func program() config.Program {
	return config.Program{
		Name:        "geoip",
		Description: "Says where IP addresses are, over gRPC (geoip.v1.GeoipService).",
		Vars:        map[string]string{"port": "9200"},
	}
}

func main() {
	var cfg settings
	config.MustParse(&cfg, program())
	os.Exit(server.Main("geoip", cfg.Config, cfg.Telemetry,
		func(ctx context.Context, s *server.Server) (func(), error) {
			return register(ctx, s, cfg.Database)
		}))
}
