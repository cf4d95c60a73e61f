package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/tools/lab/compare"
	"github.com/evenkeel/evenkeel/tools/lab/matrix"
)

// command runs a command of the lab as main does, in this process; a matrix with a runner.
func command(ctx context.Context, run matrix.Runner, args ...string) error {
	var c struct {
		config.Common

		Compare compareCommand `cmd:""`
		Matrix  matrixCommand  `cmd:""`
	}
	var out bytes.Buffer
	kctx, err := config.Parse(args, &c, config.Program{Name: "lab", Description: "Test."}, &out, &out, func(int) {})
	if err != nil {
		return usageError{err}
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	if kctx.Command() == "matrix" {
		return c.Matrix.with(ctx, run)
	}
	return kctx.Run()
}

// sampleFile is a record of the day, made by the report's tests.
const sampleFile = "report/testdata/day.json"

func TestCompareWritesThePageAndTheJSON(t *testing.T) {
	dir := t.TempDir()
	page, record := filepath.Join(dir, "a", "compare.html"), filepath.Join(dir, "compare.json")
	err := command(t.Context(), nil, "compare", "before="+sampleFile, "after="+sampleFile, "--phases", "--html", page, "--json", record)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var c compare.Comparison
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Sides) != 2 || c.Sides[1].Label != "after" || len(c.Groups) != 16 || len(c.Groups[0].Phases) != 7 {
		t.Errorf("sides %v, %d groups", c.Sides, len(c.Groups))
	}
	text, err = os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "<h1>before against after</h1>") {
		t.Error("the page has not its heading")
	}
}

func TestCompareIsRefusedWithOneLine(t *testing.T) {
	for want, args := range map[string][]string{
		"sides: 1 of them, want 2 to 20": {"compare", sampleFile},
		`label "day": two sides have it`: {"compare", sampleFile, "report/../" + sampleFile},
		"no such file":                   {"compare", sampleFile, "b=none.json"},
		"is given twice":                 {"compare", "a=" + sampleFile + "," + sampleFile, "b=" + sampleFile},
	} {
		err := command(t.Context(), nil, args...)
		if _, usage := errors.AsType[usageError](err); !usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
