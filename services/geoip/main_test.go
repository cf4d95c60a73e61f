package main

import (
	"bytes"
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

func TestTheDefaultsServeTheEmbeddedDatabaseOnItsOwnPort(t *testing.T) {
	cfg, err := parse(t)
	if err != nil || cfg.Database != "" || cfg.Port != 9200 || cfg.AdminPort != 8080 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestTheDatabaseMayComeFromTheEnvironment(t *testing.T) {
	t.Setenv("DATABASE", "main_test.go")
	cfg, err := parse(t)
	if err != nil || !strings.HasSuffix(cfg.Database, "main_test.go") {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestADatabaseThatIsNotThereIsABadFlag(t *testing.T) {
	for path, want := range map[string]string{
		"/nonexistent/geo.mmdb": "--database: stat /nonexistent/geo.mmdb: no such file or directory",
		".":                     "is a directory",
	} {
		if _, err := parse(t, "--database", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
