package kustomize_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryOverlayAndComponentIsListedAndExplained(t *testing.T) {
	list := read(t, "README.md")
	for _, kind := range []string{"overlays", "components"} {
		for _, name := range folders(t, kind) {
			if !strings.Contains(list, "| ["+name+"]("+kind+"/"+name+") |") {
				t.Errorf("README.md has no row for %s/%s", kind, name)
			}
			if text := read(t, filepath.Join(kind, name, "README.md")); !strings.HasPrefix(text, "# "+name+"\n") {
				t.Errorf("%s/%s: the README is of something else: %.40q", kind, name, text)
			}
		}
	}
}

var (
	namespaceOption = regexp.MustCompile(`(?:^| )-n (\S+)`)
	diffCommand     = regexp.MustCompile(`make diff A=([\w+-]+) B=([\w+-]+)`)
)

func TestTheCommandsOfAReadmeAreAboutItsOverlay(t *testing.T) {
	// They are copied from one overlay to the next, and by readers to a terminal.
	for _, name := range folders(t, "overlays") {
		text := read(t, filepath.Join("overlays", name, "README.md"))
		if want := "kubectl apply -k kustomize/overlays/" + name + "\n"; strings.Count(text, "apply -k") != 1 || !strings.Contains(text, want) {
			t.Errorf("%s: want one %q", name, want)
		}
		for line := range strings.Lines(text) {
			for _, match := range namespaceOption.FindAllStringSubmatch(line, -1) {
				if match[1] != name && match[1] != "kube-system" {
					t.Errorf("%s: another namespace in %q", name, line)
				}
			}
		}
	}
}

func TestADiffThatAReadmeSuggestsIsOfOverlaysThatExist(t *testing.T) {
	overlays, components := folders(t, "overlays"), folders(t, "components")
	for _, file := range readmes(t) {
		for _, match := range diffCommand.FindAllStringSubmatch(read(t, file), -1) {
			for _, side := range match[1:] {
				parts := strings.Split(side, "+")
				if !slices.Contains(overlays, parts[0]) {
					t.Errorf("%s: %s: there is no overlay %q", file, match[0], parts[0])
				}
				for _, part := range parts[1:] {
					if !slices.Contains(components, part) {
						t.Errorf("%s: %s: there is no component %q", file, match[0], part)
					}
				}
			}
		}
	}
}

var (
	link        = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	punctuation = regexp.MustCompile(`[^\w\- ]`)
)

func TestTheLinksOfTheReadmesLeadSomewhere(t *testing.T) {
	for _, file := range readmes(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, file), -1) {
			path, heading := match[1], match[2]
			if strings.Contains(path, "://") {
				continue
			}
			target := filepath.Join(filepath.Dir(file), path)
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", file, match[0], err)
				continue
			}
			if heading != "" && !slices.Contains(headings(read(t, target)), heading) {
				t.Errorf("%s: %s: there is no such heading", file, match[0])
			}
		}
	}
}

// headings lists the names by which GitHub links to those of a page.
func headings(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if title, found := strings.CutPrefix(line, "#"); found {
			title = strings.ToLower(strings.TrimSpace(strings.TrimLeft(title, "#")))
			names = append(names, strings.ReplaceAll(punctuation.ReplaceAllString(title, ""), " ", "-"))
		}
	}
	return names
}

func readmes(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md", "../deploy/README.md"}
	for _, pattern := range []string{"overlays/*/README.md", "components/*/README.md"} {
		matches, err := filepath.Glob(pattern)
		if err != nil || len(matches) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		files = append(files, matches...)
	}
	return files
}
