// Command rng serves random numbers over gRPC: the service rng.v1.RngService. It is
// small on purpose, so that what a load-balancing strategy does to it is easy
// to see.
package main

import (
	"context"
	"os"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// settings are what the flags and the environment say.
type settings struct {
	config.Common
	server.Config
	Telemetry telemetry.Config `embed:""`

	Seed uint64 `default:"0" help:"Number that every draw follows from, 1 to 18446744073709551615: with the same seed, a client that makes one call after another gets the same values again. 0 picks a seed at random. The log names the seed in use."`
}

func program() config.Program {
	return config.Program{
		Name:        "rng",
		Description: "Serves random numbers over gRPC (rng.v1.RngService).",
		Vars:        map[string]string{"port": "8081"},
	}
}

func main() {
	var cfg settings
	config.MustParse(&cfg, program())
	os.Exit(server.Main("rng", cfg.Config, cfg.Telemetry,
		func(_ context.Context, s *server.Server) (func(), error) {
			dice := newDice(cfg.Seed)
			s.Logger.Info("seeded", "seed", dice.seed)
			rngv1.RegisterRngServiceServer(s.GRPC, &service{dice: dice})

			return nil, nil
		}))
}
