package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/matrix"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// fake is a matrix.Runner that runs nothing: it hands out the record that the report's tests made,
// so that the matrix around it can be tested.
func fake(t *testing.T, said *[]string) matrix.Runner {
	return func(_ context.Context, scenario string, overlays []string, _ string) (*results.Results, error) {
		*said = append(*said, filepath.Base(scenario)+" "+strings.Join(overlays, " "))
		file, err := os.Open(sampleFile)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		r, err := results.Decode(file)
		if err != nil {
			return nil, err
		}
		r.Runs = []results.Run{r.Runs[0], r.Runs[6]}
		if r.Runs[0].Overlay != "clusterip" || r.Runs[1].Overlay != "endpointslice" {
			t.Fatalf("the sample has %s and %s there", r.Runs[0].Overlay, r.Runs[1].Overlay)
		}
		return r, nil
	}
}

func TestMatrixRunsScenariosByNameAndByPath(t *testing.T) {
	out := t.TempDir()
	var ran []string
	err := command(t.Context(), fake(t, &ran), "matrix", "--overlay", "clusterip", "--overlay=endpointslice",
		"--scenario", "day", "--scenario", "testdata/short.yaml", "--scenarios-dir", "scenarios", "--repeats", "2", "--out", out)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"day.yaml clusterip endpointslice", "short.yaml clusterip endpointslice", "day.yaml clusterip endpointslice", "short.yaml clusterip endpointslice"}
	if diff := cmp.Diff(want, ran); diff != "" {
		t.Errorf("-want +ran:\n%s", diff)
	}
	for _, name := range []string{"index.html", "matrix.json", "day/2/results.json", "short/1/report.html"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	err = command(t.Context(), fake(t, &ran), "matrix", "--overlay", "clusterip", "--scenario", "day", "--scenarios-dir", "scenarios", "--out", out)
	if _, usage := errors.AsType[usageError](err); !usage {
		t.Errorf("a matrix is written over: %v", err)
	}
}

func TestMatrixReadsEveryScenarioBeforeItRunsAnything(t *testing.T) {
	var ran []string
	err := command(t.Context(), fake(t, &ran), "matrix", "--overlay", "clusterip", "--scenario", "day", "--scenario", "night",
		"--scenarios-dir", "scenarios", "--out", t.TempDir())
	if _, usage := errors.AsType[usageError](err); !usage || !strings.Contains(err.Error(), "night.yaml") || ran != nil {
		t.Errorf("got %v after %q", err, ran)
	}
}

func TestAFailedRunIsAnErrorOfTheMatrix(t *testing.T) {
	broken := errors.New("no cluster")
	err := command(t.Context(), func(context.Context, string, []string, string) (*results.Results, error) { return nil, broken },
		"matrix", "--overlay", "clusterip", "--scenario", "day", "--scenarios-dir", "scenarios", "--repeats", "1", "--out", t.TempDir())
	if _, usage := errors.AsType[usageError](err); usage || err == nil || !strings.HasPrefix(err.Error(), "1 of 1 runs failed") {
		t.Errorf("got %v", err)
	}
}
