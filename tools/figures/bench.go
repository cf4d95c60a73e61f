package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// header says when and on what a run was made that does not say so itself. Lines of "key: value" are what the format of
// benchmarks has for that (https://go.dev/design/14313-benchmark-format).
func header(now time.Time) []byte {
	return fmt.Appendf(nil, "date: %s\ncpus: %d\nplatform: %s/%s\n\n", now.UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}

// text is what a run wrote, and the header before it.
type text struct {
	date, where, content string
}

func readText(file string) (text, error) {
	all, err := os.ReadFile(file)
	if err != nil {
		return text{}, err
	}
	head, content, _ := strings.Cut(string(all), "\n\n")
	values := map[string]string{}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		values[key] = value
	}
	for _, key := range []string{"date", "cpus", "platform"} {
		if values[key] == "" {
			return text{}, fmt.Errorf("%s: the lines before the first empty one do not say %q", file, key+": …")
		}
	}

	return text{date: values["date"], where: fmt.Sprintf("%s CPUs, %s", values["cpus"], values["platform"]), content: content}, nil
}

// benchmarks are what `go test -bench` printed.
type benchmarks struct {
	text

	// samples are the values by benchmark ("resolver/srv.Lookup/records=10") and unit, one for each round.
	samples map[string]map[string][]float64
}

func readBenchmarks(file string) (benchmarks, error) {
	t, err := readText(file)
	if err != nil {
		return benchmarks{}, err
	}
	b := benchmarks{text: t, samples: parseBenchmarks(t.content)}
	if len(b.samples) == 0 {
		return b, fmt.Errorf("%s: no benchmark is in it", file)
	}

	return b, nil
}

// processors is what Go puts behind a benchmark's name.
var processors = regexp.MustCompile(`-\d+$`)

// parseBenchmarks reads lines of "BenchmarkName-2 iterations value unit value unit…". Whatever else is printed is
// passed over, as the format has it.
func parseBenchmarks(printed string) map[string]map[string][]float64 {
	samples := map[string]map[string][]float64{}
	folder := ""
	for line := range strings.Lines(printed) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "pkg:":
			folder = strings.TrimPrefix(fields[1], "github.com/evenkeel/evenkeel/")
		case len(fields) >= 4 && len(fields)%2 == 0 && strings.HasPrefix(fields[0], "Benchmark"):
			name := folder + "." + strings.TrimPrefix(processors.ReplaceAllString(fields[0], ""), "Benchmark")
			for i := 2; i < len(fields); i += 2 {
				value, err := strconv.ParseFloat(fields[i], 64)
				if err != nil {
					break
				}
				if samples[name] == nil {
					samples[name] = map[string][]float64{}
				}
				samples[name][fields[i+1]] = append(samples[name][fields[i+1]], value)
			}
		}
	}

	return samples
}

// median is that of a benchmark's rounds.
func (b benchmarks) median(name, unit string) (float64, error) {
	units, ok := b.samples[name]
	if !ok {
		return 0, fmt.Errorf("there is no benchmark %q: give %s", name, strings.Join(slices.Sorted(maps.Keys(b.samples)), ", "))
	}
	samples, ok := units[unit]
	if !ok {
		return 0, fmt.Errorf("%s has no %q: give %s", name, unit, strings.Join(slices.Sorted(maps.Keys(units)), ", "))
	}
	sorted := slices.Sorted(slices.Values(samples))

	return sorted[len(sorted)/2], nil
}

// nanoseconds are the units of time that benchmarks use.
var nanoseconds = map[string]float64{"ns/op": 1, "cpu-ns/rpc": 1, "cpu-us/rpc": 1e3}

// quantity writes a value for people: "22.8 µs", "35.4k", "421".
func quantity(value float64, unit string) string {
	if ns, ok := nanoseconds[unit]; ok {
		d := value * ns
		for _, u := range []string{"ns", "µs", "ms"} {
			if d < 1000 {
				return significant(d) + " " + u
			}
			d /= 1000
		}

		return significant(d) + " s"
	}
	switch {
	case value >= 1e6:
		return significant(value/1e6) + "M"
	case value >= 1e4:
		return significant(value/1e3) + "k"
	default:
		return significant(value)
	}
}

// significant rounds to two digits, and to three where the second would be a large step.
func significant(value float64) string {
	switch {
	case value == 0 || value >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case value >= 10:
		return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0")
	default:
		return strconv.FormatFloat(value, 'g', 2, 64)
	}
}

// first is the only run of a set of benchmarks.
func (s sets) first(name string) (benchmarks, error) {
	set, err := s.get(name)
	if err == nil && len(set.Bench) == 0 {
		err = fmt.Errorf("%s has no benchmarks, but %s", name, set.Output)
	}
	if err != nil {
		return benchmarks{}, err
	}

	return set.Bench[0], nil
}

func (s sets) bench(name, benchmark, unit string) (string, error) {
	b, err := s.first(name)
	if err != nil {
		return "", err
	}
	median, err := b.median(benchmark, unit)

	return quantity(median, unit), err
}

func (s sets) ratio(name, benchmark, other, unit string) (string, error) {
	b, err := s.first(name)
	if err != nil {
		return "", err
	}
	over, err := b.median(benchmark, unit)
	if err != nil {
		return "", err
	}
	under, err := b.median(other, unit)

	return fmt.Sprintf("%.2f", over/under), err
}
