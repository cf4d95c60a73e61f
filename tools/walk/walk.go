// Command walk does what a document tells its reader to do, and says whether what comes out is what the document shows.
//
//	go run ./tools/walk -before 'kubectl() { bin/cluster kubectl "$@"; }' README.md
//
// The steps are the document's blocks of the language "console". A line that begins with "$ " is a command of the shell, those
// with "> " after it go on with it, and the rest, up to the next command, is what it prints on standard output. All of them run
// in one bash, one after the other; the first that fails ends it.
//
// What changes from run to run may: the random parts of pods' names, the numbers of traces, and numbers, except that 0 is 0
// and 100 % is 100 %. A line "…" is any lines, or none.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/interrupt"
)

func main() {
	before := flag.String("before", "", "commands of bash to run before the first step")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: walk [-before COMMANDS] FILE.md\nRuns the console blocks of a document, and compares what they print with what it shows.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	text, err := os.ReadFile(flag.Arg(0))
	if err == nil {
		ctx, stop := interrupt.Context(context.Background())
		defer stop()
		err = walk(ctx, os.Stdout, *before, parse(string(text)))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "walk: %v\n", err)
		os.Exit(1)
	}
}

// step is a command with what the document says that it prints.
type step struct {
	command string
	want    []string
}

// parse finds the steps of a document.
func parse(document string) []step {
	var steps []step
	inside := false
	for line := range strings.Lines(document) {
		line = strings.TrimRight(line, "\n")
		command, isCommand := strings.CutPrefix(line, "$ ")
		more, isMore := strings.CutPrefix(line, "> ")
		last := len(steps) - 1
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside && line == "```console"
		case !inside:
		case isCommand:
			steps = append(steps, step{command: command})
		case last >= 0 && isMore && len(steps[last].want) == 0:
			steps[last].command += "\n" + more
		case last >= 0:
			steps[last].want = append(steps[last].want, line)
		}
	}

	return steps
}

// mark comes before what each command prints. No command prints it.
const mark = "@@ next step @@"

// walk runs the steps, and tells w of each.
func walk(ctx context.Context, w io.Writer, before string, steps []step) error {
	if len(steps) == 0 {
		return errors.New("the document has no console block")
	}
	script := []string{"set -euo pipefail", before}
	for _, s := range steps {
		script = append(script, "echo '"+mark+"'", s.command)
	}
	script = append(script, "echo '"+mark+"'")
	bash := exec.CommandContext(ctx, "bash", "-c", strings.Join(script, "\n"))
	bash.Cancel = func() error { return bash.Process.Signal(os.Interrupt) }
	bash.WaitDelay = 10 * time.Second
	bash.Stderr = os.Stderr
	stdout, err := bash.StdoutPipe()
	if err != nil {
		return err
	}
	if err := bash.Start(); err != nil {
		return err
	}
	wrong := follow(w, stdout, steps)
	if err := bash.Wait(); err != nil {
		return errors.Join(fmt.Errorf("a step failed: %w", err), wrong)
	}

	return wrong
}

// follow reads what the steps print, and is an error for those that print something else than they should.
func follow(w io.Writer, stdout io.Reader, steps []step) error {
	var errs []error
	var got []string
	at := -1
	began := time.Now()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() != mark {
			fmt.Fprintln(w, lines.Text())
			got = append(got, lines.Text())

			continue
		}
		if at >= 0 {
			fmt.Fprintf(w, "--- %.0f s\n", time.Since(began).Seconds())
			if err := compare(steps[at], got); err != nil {
				errs = append(errs, err)
			}
		}
		if at++; at < len(steps) {
			fmt.Fprintf(w, "$ %s\n", steps[at].command)
		}
		got, began = nil, time.Now()
	}
	fmt.Fprintf(w, "%d of %d steps were as the document says\n", max(at, 0)-len(errs), len(steps))

	return errors.Join(append(errs, lines.Err())...)
}

// compare is an error if a step has printed something else than it should, but for what may change.
func compare(s step, got []string) error {
	if match(normal(s.want), normal(got)) {
		return nil
	}

	return fmt.Errorf("$ %s\n--- the document says\n%s\n--- it printed\n%s", s.command, strings.Join(s.want, "\n"), strings.Join(got, "\n"))
}

// anything is a line that stands for any lines.
const anything = "…"

// match goes back to the last "…" alone when lines differ: an earlier one could take no lines that
// this one cannot.
func match(want, got []string) bool {
	back, took := -1, 0
	w, g := 0, 0
	for g < len(got) {
		switch {
		case w < len(want) && want[w] == anything:
			back, took = w, g
			w++
		case w < len(want) && want[w] == got[g]:
			w++
			g++
		case back >= 0:
			took++
			w, g = back+1, took
		default:
			return false
		}
	}
	for w < len(want) && want[w] == anything {
		w++
	}

	return w == len(want)
}

var (
	pod   = regexp.MustCompile(`\b(rng|geoip|client)-[a-z0-9]{5,10}-[a-z0-9]{5}\b`) // of a Deployment
	trace = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	// exact are numbers that must be as they are. They are put into words before the others are made alike.
	exact  = regexp.MustCompile(`(^|[^0-9A-Za-z.,])(100 %|0($|[^0-9A-Za-z.,]))`)
	words  = strings.NewReplacer("100", "hundred", "0", "zero")
	number = regexp.MustCompile(`[0-9]+([.,][0-9]+)*`)
)

// normal is what lines have in common with those of another run.
func normal(lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		line = pod.ReplaceAllString(line, "$1-…")
		line = trace.ReplaceAllString(line, "…")
		line = exact.ReplaceAllStringFunc(line, words.Replace)
		line = number.ReplaceAllString(line, "N")
		out[i] = strings.Join(strings.Fields(line), " ")
	}

	return out
}
