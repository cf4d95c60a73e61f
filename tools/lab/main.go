// Command lab runs strategies side by side under the same traffic and the same
// faults, and says what each of them cost.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/interrupt"
	"github.com/evenkeel/evenkeel/tools/lab/local/watchdog"
	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// exitInterrupted is the exit status after Ctrl-C, as shells have it.
const exitInterrupted = 130

type cli struct {
	config.Common

	Run      runCommand      `cmd:"" help:"Run overlays under a scenario and write results.json and report.html."`
	Up       upCommand       `cmd:"" help:"Run overlays on this machine until Ctrl-C, and serve a page with their live pages and buttons for what may happen to them."`
	Matrix   matrixCommand   `cmd:"" help:"Run overlays under several scenarios, several times, and write one page."`
	Compare  compareCommand  `cmd:"" help:"Put results of earlier runs side by side and say what differs by more than noise."`
	Report   reportCommand   `cmd:"" help:"Write the report and print the table of an earlier results.json."`
	Watchdog watchdogCommand `cmd:"" hidden:"" help:"End the processes of a lab that has died."`
}

func main() {
	var c cli
	kctx := config.MustParse(&c, config.Program{
		Name: "lab",
		Description: "Runs strategies (overlays) side by side under the same traffic and faults, " +
			"and measures what each of them costs.",
	})
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))

	switch err := kctx.Run(); {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "lab: interrupted: whatever was started has been ended")
		os.Exit(exitInterrupted)
	default:
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		status := 1
		if _, usage := errors.AsType[usageError](err); usage {
			status = config.ExitUsage
		}
		os.Exit(status)
	}
}

// usageError is an error in what the lab was given.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

type watchdogCommand struct{}

// Run is the watchdog's own process.
func (watchdogCommand) Run() error { return watchdog.Main(os.Stdin, os.Stdout) }

type reportCommand struct {
	Results string `arg:"" type:"existingfile" help:"A results.json."`
	Out     string `default:"." type:"path" help:"Folder that report.html is written to."`
}

// Run writes the report of results that are there.
func (c reportCommand) Run() error {
	r, err := results.Read(c.Results)
	if err != nil {
		return usageError{err}
	}
	if err := report.Table(os.Stdout, r, terminalWidth(os.Stdout)); err != nil {
		return err
	}

	return writeReport(filepath.Join(c.Out, "report.html"), r)
}

// writeReport writes the report to a file.
func writeReport(path string, r *results.Results) error {
	return write(path, func(file *os.File) error { return report.HTML(file, r) })
}

// writeResults writes results.json.
func writeResults(path string, r *results.Results) error {
	return write(path, func(file *os.File) error { return results.Encode(file, r) })
}

func write(path string, fill func(*os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}

	return errors.Join(fill(file), file.Close())
}
