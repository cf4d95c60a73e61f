package observability_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/deploy/observability/check"
)

func rules(t *testing.T) []check.Rule {
	t.Helper()
	all, err := check.Rules("prometheus/rules")
	if err != nil {
		t.Fatal(err)
	}

	return all
}

// heading is one of a Markdown document.
var heading = regexp.MustCompile(`(?m)^#+ (.*)$`)

func TestAnAlertSaysWhatToDo(t *testing.T) {
	var anchors []string
	for _, match := range heading.FindAllStringSubmatch(read(t, "../../docs/troubleshooting.md"), -1) {
		anchors = append(anchors, strings.ReplaceAll(strings.ToLower(match[1]), " ", "-"))
	}
	for _, rule := range rules(t) {
		if rule.Alert == "" {
			continue
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
			t.Errorf("%s has no summary, no description or no severity", rule.Alert)
		}
		document, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		if document != "https://github.com/evenkeel/evenkeel/blob/main/docs/troubleshooting.md" || !slices.Contains(anchors, anchor) {
			t.Errorf("%s: the runbook %s#%s is not there: the headings are %v", rule.Alert, document, anchor, anchors)
		}
	}
}

func TestTheOperatorTakesTheSameRules(t *testing.T) {
	// prometheus-operator/README.md makes a PrometheusRule of each file by indenting it under `spec:`.
	for _, file := range []string{"recording", "alerts"} {
		if !strings.Contains(read(t, "prometheus/rules/"+file+".yml"), "\ngroups:\n") {
			t.Errorf("%s.yml is not of the form that a PrometheusRule's spec has", file)
		}
	}
	if !strings.Contains(read(t, "prometheus-operator/README.md"), "for file in recording alerts; do") {
		t.Error("the README does not name both files")
	}
}
