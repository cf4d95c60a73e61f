// Package config reads a program's settings from its flags and environment.
//
// A program describes its settings as a struct with kong tags. Every flag has an
// environment variable of the same name in capitals (--max-connection-age and
// MAX_CONNECTION_AGE); the flag wins. A bad value is one line on standard error
// that names the flag, the value and what is accepted, and exit status 2.
package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// ExitUsage is the exit status for settings that were refused.
const ExitUsage = 2

// Program says what --help prints first.
type Program struct {
	// Name is the name of the command.
	Name string
	// Description says what it is for, in a sentence or two.
	Description string
	// Vars are values for ${...} in the tags, such as the default of a port that
	// differs between programs with the same settings.
	Vars map[string]string
}

// Common are the flags that every program has.
type Common struct {
	Version kong.VersionFlag `env:"-" help:"Print the version and exit."`
}

// MustParse fills cfg, a pointer to a struct with kong tags, from the command line
// and the environment. It prints help or an error and exits where Parse returns
// one.
func MustParse(cfg any, p Program) *kong.Context {
	kctx, err := Parse(os.Args[1:], cfg, p, os.Stdout, os.Stderr, os.Exit)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		os.Exit(ExitUsage)
	}

	return kctx
}

// Parse fills cfg from args and the environment. Help and the version go to
// stdout and then call exit, as kong does. An error is fit to be printed as
// it is: one line that names the setting, its value and what is accepted.
func Parse(
	args []string, cfg any, p Program, stdout, stderr io.Writer, exit func(int),
) (*kong.Context, error) {
	parser, err := kong.New(cfg,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.DefaultEnvars(""),
		kong.Vars{"version": p.Name + " " + Version()}.CloneWith(p.Vars),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.KindMapper(reflect.Int, integer(strconv.IntSize)),
		kong.KindMapper(reflect.Int64, integer(64)),
		kong.KindMapper(reflect.Uint64, kong.MapperFunc(natural)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
	)
	if err != nil {
		return nil, explain(err)
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return nil, explain(err)
	}

	return kctx, nil
}

// Version is the version of this build: the module's when it was built with one,
// else the commit, else "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}

	return "devel"
}

// duration reads a time.Duration. kong's own mapper repeats the value in its error
// and accepts bare numbers as nanoseconds, which nobody ever means.
func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return fmt.Errorf("needs a duration, such as 500ms, 30s or 5m: %w", err)
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a duration: give a number with a unit, such as 500ms, 30s or 5m", text)
	case d < 0:
		return fmt.Errorf("%q is negative: give 0 or more, such as 500ms, 30s or 5m", text)
	}
	target.SetInt(int64(d))

	return nil
}

// integer reads a whole number of so many bits.
func integer(bits int) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("int", &text); err != nil {
			return fmt.Errorf("needs a whole number: %w", err)
		}
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return fmt.Errorf("%q is not a whole number of %d bits", text, bits)
		}
		target.SetInt(n)

		return nil
	}
}

// natural reads a whole number that is not negative.
func natural(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("uint", &text); err != nil {
		return fmt.Errorf("needs a whole number: %w", err)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a whole number from 0 to %d", text, uint64(math.MaxUint64))
	}
	target.SetUint(n)

	return nil
}

// explain makes one line of an error.
func explain(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if !strings.Contains(text, "--help") {
		text += " (see --help)"
	}

	return errors.New(text)
}

// InRange is an error unless lo <= value <= hi. It is for the Validate methods of
// settings, which kong calls.
func InRange[N int | int64 | float64 | time.Duration](flag string, value, lo, hi N) error {
	if value >= lo && value <= hi {
		return nil
	}

	return fmt.Errorf("--%s: %v is out of range: give %v to %v", flag, value, lo, hi)
}
