package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Dashboard is what Grafana is given, as far as it matters here.
type Dashboard struct {
	File        string `json:"-"`
	UID         string
	Title       string
	Description string
	Templating  struct{ List []Variable }
	Panels      []Panel
}

// Variable is one that a dashboard's queries have in them.
type Variable struct {
	Name, Type string
	Query      any
}

// Panel is one picture.
type Panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []Target
}

// Target is a query of a panel.
type Target struct{ RefID, Expr string }

// Dashboards reads those in a folder.
func Dashboards(folder string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no dashboards: %w", folder, err)
	}
	var all []Dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := Dashboard{File: filepath.Base(file)}
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, d)
	}

	return all, nil
}

// Filled is a query with the variables that every dashboard has.
func (t Target) Filled(namespace, app string) string {
	return strings.NewReplacer("$namespace", namespace, "$app", app).Replace(t.Expr)
}

// Rule is a recording rule or an alert.
type Rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// Rules reads those in a folder.
func Rules(folder string) ([]Rule, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no rules: %w", folder, err)
	}
	var all []Rule
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var content struct{ Groups []struct{ Rules []Rule } }
		if err := yaml.Unmarshal(text, &content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, group := range content.Groups {
			all = append(all, group.Rules...)
		}
	}

	return all, nil
}

// example is a block of queries in a document.
var example = regexp.MustCompile("(?ms)^```promql\n(.*?)^```")

// Examples are the queries in a Markdown document, one a line.
func Examples(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var queries []string
	for _, match := range example.FindAllStringSubmatch(string(text), -1) {
		queries = append(queries, strings.Split(strings.TrimSpace(match[1]), "\n")...)
	}
	if len(queries) == 0 {
		return nil, fmt.Errorf("%s: there are no queries", file)
	}

	return queries, nil
}

var (
	// notNames is what of a query has no names of metrics in it: strings, label matchers, times, lists of labels.
	notNames = []*regexp.Regexp{
		regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`),
		regexp.MustCompile(`\{[^}]*\}`),
		regexp.MustCompile(`\[[^\]]*\]|\b\d+[a-z]+\b`),
		regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?`),
	}
	name    = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
	keyword = []string{"and", "or", "unless", "bool", "offset"}
)

// Metrics are the names of the series that a query is about.
func Metrics(query string) []string {
	for _, not := range notNames {
		query = not.ReplaceAllString(query, " ")
	}
	var names []string
	for _, found := range name.FindAllString(query, -1) {
		found = strings.TrimSpace(found)
		if !strings.HasSuffix(found, "(") && !slices.Contains(keyword, found) && !slices.Contains(names, found) {
			names = append(names, found)
		}
	}

	return names
}
