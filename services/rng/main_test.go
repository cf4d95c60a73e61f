package main

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/config"
)

func parse(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var cfg settings
	var out bytes.Buffer
	_, err := config.Parse(args, &cfg, program(), &out, &out, func(int) { t.Errorf("exits and says %s", &out) })

	return cfg, err
}

func TestTheSeedComesFromTheFlagOrTheEnvironment(t *testing.T) {
	if cfg, err := parse(t); err != nil || cfg.Seed != 0 || cfg.Port != 8081 {
		t.Errorf("by default %+v, %v", cfg, err)
	}
	t.Setenv("SEED", "7")
	if cfg, err := parse(t); err != nil || cfg.Seed != 7 {
		t.Errorf("from the environment %d, %v", cfg.Seed, err)
	}
	if cfg, err := parse(t, "--seed=18446744073709551615"); err != nil || cfg.Seed != math.MaxUint64 {
		t.Errorf("from the flag %d, %v", cfg.Seed, err)
	}
}

func TestASeedThatIsNoNumberIsABadFlag(t *testing.T) {
	for _, seed := range []string{"-1", "1.5", "dice", "18446744073709551616", ""} {
		if _, err := parse(t, "--seed="+seed); err == nil || !strings.Contains(err.Error(), "--seed: ") {
			t.Errorf("%q: %v", seed, err)
		}
	}
}
