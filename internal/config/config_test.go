package config_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
)

type settings struct {
	config.Common

	Age   time.Duration `default:"30s" help:"Age."`
	Port  int           `default:"${port}" help:"Port."`
	Seed  uint64        `default:"0" help:"Seed."`
	Rate  float64       `default:"1" help:"Rate."`
	Level string        `default:"info" enum:"debug,info" help:"Level."`
}

func (s *settings) Validate() error { return config.InRange("port", s.Port, 1, 65535) }

func parse(args ...string) (settings, error) {
	var s settings
	program := config.Program{Name: "test", Description: "Tests.", Vars: map[string]string{"port": "8081"}}
	_, err := config.Parse(args, &s, program, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})

	return s, err
}

func TestAFlagWinsOverItsEnvironmentVariableAndThatOverTheDefault(t *testing.T) {
	t.Setenv("AGE", "5m")
	t.Setenv("PORT", "9200")
	s, err := parse("--port=1234")
	if err != nil {
		t.Fatal(err)
	}
	if s.Age != 5*time.Minute || s.Port != 1234 || s.Level != "info" {
		t.Errorf("%+v", s)
	}
}

func TestABadValueIsOneLineThatNamesItAndSaysWhatIsAccepted(t *testing.T) {
	for arg, want := range map[string]string{
		"--age=soon":    `--age: "soon" is not a duration: give a number with a unit, such as 500ms, 30s or 5m`,
		"--age=5":       `--age: "5" is not a duration`,
		"--age=-5s":     `--age: "-5s" is negative: give 0 or more`,
		"--port=0":      "--port: 0 is out of range: give 1 to 65535",
		"--port=x":      `--port: "x" is not a whole number`,
		"--seed=-1":     `--seed: "-1" is not a whole number from 0 to 18446744073709551615`,
		"--rate=fast":   `--rate: expected a float but got "fast"`,
		"--level=trace": `--level must be one of "debug","info" but got "trace"`,
		"--colour":      "unknown flag --colour",
	} {
		_, err := parse(arg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngot:  %v\nwant: %s", arg, err, want)
		}
	}
}

func TestABadEnvironmentVariableIsNamed(t *testing.T) {
	t.Setenv("AGE", "soon")
	if _, err := parse(); err == nil || !strings.Contains(err.Error(), `AGE="soon"`) {
		t.Error(err)
	}
}

func TestHelpNamesEveryFlagAndItsEnvironmentVariable(t *testing.T) {
	var out bytes.Buffer
	exited := -1
	var s settings
	program := config.Program{Name: "test", Description: "Tests.", Vars: map[string]string{"port": "8081"}}
	// After help kong goes on where a process would have ended; what it says then does not matter.
	_, _ = config.Parse([]string{"--help"}, &s, program, &out, &out, func(code int) { exited = code })
	for _, want := range []string{"--age=30s", "($AGE)", "--port=8081", "($PORT)", "--version"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in:\n%s", want, out.String())
		}
	}
	if exited != 0 {
		t.Errorf("exit status %d", exited)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("30s", "8081", "1")
	f.Add("-1s", "99999999999999999999", "NaN")
	f.Add("", "\x00", "--")
	f.Fuzz(func(t *testing.T, age, port, rate string) {
		s, err := parse("--age="+age, "--port="+port, "--rate="+rate)
		switch {
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("more than one line: %q", err)
		case err == nil && (s.Age < 0 || s.Port < 1 || s.Port > 65535):
			t.Errorf("accepted %+v", s)
		}
	})
}
