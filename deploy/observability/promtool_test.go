//go:build promtool

package observability_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool runs Prometheus' own tool, which `make test-rules` builds.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: `make test-rules` builds it and runs these tests", err)
	}
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestEveryAlertFiresWhenItShouldAndOnlyThen(t *testing.T) {
	files, err := filepath.Glob("prometheus/tests/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no tests: %v", err)
	}
	promtool(t, append([]string{"test", "rules"}, files...)...)
	for _, rule := range rules(t) {
		if rule.Alert == "" {
			continue
		}
		var fires, silent bool
		for _, file := range files {
			for test := range strings.SplitSeq(read(t, file), "- name: ") {
				if strings.Contains(test, rule.Alert) {
					fires = fires || strings.Contains(test, "exp_alerts:\n")
					silent = silent || (strings.Contains(test, "exp_alerts: []") || strings.Contains(test, "exp_samples: []")) && !strings.Contains(test, "exp_alerts:\n")
				}
			}
		}
		if !fires || !silent {
			t.Errorf("%s: a test in which it fires: %t; one in which it must not: %t", rule.Alert, fires, silent)
		}
	}
}

func TestPrometheusTakesTheRules(t *testing.T) {
	promtool(t, "check", "rules", "prometheus/rules/recording.yml", "prometheus/rules/alerts.yml")
}
