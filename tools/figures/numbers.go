package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A number that somebody types into a document goes stale, and nobody notices. So each number in a document is one of
// a run, or is listed in docs/results/given.yaml as one that no run gives: a setting, a limit, a definition.

// given are such numbers, by document.
type given map[string][]string

func readGiven(folder string) (given, error) {
	file := filepath.Join(folder, "given.yaml")
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return given{}, nil
	}
	if err != nil {
		return nil, err
	}
	g := given{}
	if err := yaml.Unmarshal(text, &g); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}

	return g, nil
}

var (
	// apart is what has no figures: those of runs, blocks and spans of code, addresses of links.
	apart = regexp.MustCompile("(?s)<!--\\{\\{.*?\\}\\}-->.*?<!--/-->|<!--.*?-->|```.*?```|`[^`]*`|\\]\\([^)]*\\)|https?://[^ )]*|(?m:^    [^\n]*$|^\\[[^]]*\\]: [^\n]*$)")
	// number is one with its unit, if it has one: "30 s", "0.02", "1,000", "16.5 MB", "90 %".
	number = regexp.MustCompile(`(?:^|[^\pL\pN_.#])(\d[\d.,:]*(?: ?(?:%|µs|ms|ns|s|seconds?|minutes?|min|hours?|MB|MiB|GB|KB|bytes|RPCs?|millicores|k)\b|\s?%)?)`)
)

// unmarked says which numbers of a document are neither a run's nor given, and which are given for nothing.
func (g given) unmarked(document string, text []byte) error {
	// Lines stay where they are.
	blank := func(b []byte) []byte { return bytes.Repeat([]byte("\n"), bytes.Count(b, []byte("\n"))) }
	rest := apart.ReplaceAllFunc(text, func(b []byte) []byte { return append([]byte("`"), blank(b)...) })
	var errs []error
	used := map[string]bool{}
	for _, at := range number.FindAllSubmatchIndex(rest, -1) {
		found := strings.TrimRight(strings.Join(strings.Fields(string(rest[at[2]:at[3]])), " "), ".,:")
		if used[found] = true; !slices.Contains(g[document], found) {
			errs = append(errs, fmt.Errorf("%s:%d: %q is no figure of a run (<!--{{…}}-->), and docs/results/given.yaml does not have it",
				document, 1+bytes.Count(rest[:at[2]], []byte("\n")), found))
		}
	}
	for _, n := range g[document] {
		if !used[n] {
			errs = append(errs, fmt.Errorf("docs/results/given.yaml: %s no longer has %q", document, n))
		}
	}

	return errors.Join(errs...)
}
