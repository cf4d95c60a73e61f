// Package layout_test holds the diagrams of docs/architecture.md to the source tree, so that they cannot lie: each arrow is
// an import, each import an arrow, and each folder that a box names is there.
package layout_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root   = "../.."
	module = "github.com/evenkeel/evenkeel/"
)

// arrows are the imports among folders, as "services --> proto". Those of tests are none: a test may look at anything.
type arrows map[string]bool

var (
	// diagram is one in Mermaid, after a comment with the folder whose folders are its boxes.
	diagram = regexp.MustCompile("(?s)<!-- imports in (\\S+) -->\n```mermaid\n(.*?)```")
	// arrow goes from a box to one or more.
	arrow = regexp.MustCompile(`^(\S+) --> (\S+(?: & \S+)*)$`)
	// box has a name, and a label with what is in the folder: services["services<br/>rng, geoip, client"].
	box = regexp.MustCompile(`^(\S+)\["\S+<br/>(.*)"\]$`)
)

// drawn are the arrows of a diagram, and what its boxes say that there is.
func drawn(text string) (arrows, map[string][]string, error) {
	all, contents := arrows{}, map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "flowchart "):
		case arrow.MatchString(line):
			parts := arrow.FindStringSubmatch(line)
			for to := range strings.SplitSeq(parts[2], " & ") {
				all[parts[1]+" --> "+to] = true
			}
		case box.MatchString(line):
			parts := box.FindStringSubmatch(line)
			contents[parts[1]] = strings.Split(parts[2], ", ")
		default:
			return nil, nil, fmt.Errorf("%q is neither a box nor an arrow", line)
		}
	}

	return all, contents, nil
}

// found are the arrows among the folders of a folder. What its own package imports is not among them.
func found(folder string) (arrows, error) {
	all := arrows{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		below, err := filepath.Rel(filepath.Join(root, folder), path)
		if err != nil {
			return err
		}
		from, _, inFolder := strings.Cut(filepath.ToSlash(below), "/")
		if !inFolder {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, isOurs := strings.CutPrefix(name, module+strings.TrimPrefix(folder+"/", "./"))
			if to, _, _ := strings.Cut(ours, "/"); isOurs && to != from {
				all[from+" --> "+to] = true
			}
		}

		return nil
	})

	return all, err
}

func TestTheDiagramsAreTheImports(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	diagrams := diagram.FindAllStringSubmatch(string(text), -1)
	if len(diagrams) != 2 {
		t.Errorf("%d diagrams have a comment that says whose imports they are, not 2", len(diagrams))
	}
	for _, d := range diagrams {
		folder := d[1]
		inDocument, contents, err := drawn(d[2])
		if err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		inTree, err := found(folder)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(inTree)), slices.Sorted(maps.Keys(inDocument))); diff != "" {
			t.Errorf("docs/architecture.md, imports in %s: - is in the tree only, + in the diagram only\n%s", folder, diff)
		}
		for name, children := range contents {
			for _, child := range children {
				if _, err := os.Stat(filepath.Join(root, folder, name, child)); err != nil {
					t.Errorf("docs/architecture.md, imports in %s: the box %s: %v", folder, name, err)
				}
			}
		}
	}
}

func TestADiagramIsReadAsItIsDrawn(t *testing.T) {
	got, contents, err := drawn("flowchart TD\n    a[\"a<br/>b, c/d\"]\n    a --> b & c\n    c --> b\n")
	want := arrows{"a --> b": true, "a --> c": true, "c --> b": true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"b", "c/d"}}, contents); diff != "" {
		t.Error(diff)
	}
	if _, _, err := drawn("a -- b\n"); err == nil {
		t.Error("a line that is neither a box nor an arrow is accepted")
	}
}
