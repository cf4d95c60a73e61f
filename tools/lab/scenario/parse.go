package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxSize is more than any scenario needs, in bytes.
const maxSize = 1 << 20

// Load reads a scenario file.
func Load(path string) (*Scenario, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}

	return Parse(path, text)
}

// Parse reads a scenario. An error is one line that names the file, the line, the
// field, the value and what is accepted.
func Parse(file string, text []byte) (*Scenario, error) {
	r := &reader{file: file, what: "scenario"}
	document, err := r.document(text, "name, service, start, load and phases")
	if err != nil {
		return nil, err
	}
	s := r.scenario(document)
	if r.err != nil {
		return nil, r.err
	}
	s.markGraceful()

	return s, nil
}

// reader walks YAML nodes and keeps the first thing that is wrong.
type reader struct {
	file string
	what string // is read: a scenario or a step
	err  error
}

// document is the only one that a text has.
func (r *reader) document(text []byte, has string) (*yaml.Node, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s: larger than %d bytes", r.file, maxSize)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: empty: a %s has %s", r.file, r.what, has)
		}
		// yaml's own error has the line.
		return nil, fmt.Errorf("%s: %s", r.file, strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document: one %s is accepted", r.file, r.what)
	}

	return document.Content[0], nil
}

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s:%d: %s: %s", r.file, n.Line, path, fmt.Sprintf(format, args...))
	}
}

// fields are what a mapping may hold.
type fields map[string]func(path string, value *yaml.Node)

// mapping reads each field of a mapping with its function and returns the names of
// those that it found.
func (r *reader) mapping(n *yaml.Node, path string, accepted fields) []string {
	names := make([]string, 0, len(accepted))
	for name := range accepted {
		names = append(names, name)
	}
	slices.Sort(names)
	here := path
	if here == "" {
		here = "the " + r.what
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, here, "%s is not accepted: give a mapping with %s", describe(n), strings.Join(names, ", "))

		return nil
	}
	var found []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := strings.TrimPrefix(path+"."+key.Value, ".")
		read, ok := accepted[key.Value]
		switch {
		case !ok:
			r.fail(key, here, "unknown field %q: %s are accepted", key.Value, strings.Join(names, ", "))
		case slices.Contains(found, key.Value):
			r.fail(key, field, "given twice")
		default:
			found = append(found, key.Value)
			read(field, value)
		}
	}

	return found
}

// require fails for the first of names that was not found.
func (r *reader) require(n *yaml.Node, path string, found []string, names ...string) {
	for _, name := range names {
		if !slices.Contains(found, name) {
			r.fail(n, strings.TrimPrefix(path+"."+name, "."), "missing")
		}
	}
}

func (r *reader) scenario(n *yaml.Node) *Scenario {
	s := &Scenario{Load: map[string]float64{}}
	found := r.mapping(n, "", fields{
		"name":        func(path string, v *yaml.Node) { s.Name = r.text(v, path) },
		"description": func(path string, v *yaml.Node) { s.Description = r.text(v, path) },
		"service":     func(path string, v *yaml.Node) { s.Service = r.oneOf(v, path, Services...) },
		"start": func(path string, v *yaml.Node) {
			found := r.mapping(v, path, fields{
				"replicas": func(path string, v *yaml.Node) { s.Replicas = r.count(v, path, 0) },
			})
			r.require(v, path, found, "replicas")
		},
		"load": func(path string, v *yaml.Node) {
			rates := fields{}
			for _, service := range Services {
				rates[service] = func(path string, v *yaml.Node) { s.Load[service] = r.rate(v, path) }
			}
			r.mapping(v, path, rates)
		},
		"keys":   func(path string, v *yaml.Node) { s.Keys = r.keys(v, path) },
		"phases": func(path string, v *yaml.Node) { s.Phases = r.phases(v, path) },
	})
	r.require(n, "", found, "name", "service", "start", "load", "phases")
	if r.err == nil && s.Load[s.Service] == 0 {
		r.fail(n, "load."+s.Service, "missing: the service that is measured needs a load")
	}

	return s
}

func (r *reader) phases(n *yaml.Node, path string) []Phase {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > MaxPhases {
		r.fail(n, path, "%s is not accepted: give a list of 1 to %d phases", describe(n), MaxPhases)

		return nil
	}
	phases := make([]Phase, 0, len(n.Content))
	names := map[string]bool{}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		p, times := r.phase(item, at)
		name := p.Name
		for time := range times {
			if times > 1 {
				p.Name = fmt.Sprintf("%s %d", name, time+1)
			}
			if names[p.Name] {
				r.fail(item, at+".name", "%q is the name of an earlier phase too: give each its own", p.Name)
			}
			names[p.Name] = true
			phases = append(phases, p)
		}
	}
	if len(phases) > MaxPhases {
		r.fail(n, path, "%d phases, repeated ones counted, are too many: give 1 to %d", len(phases), MaxPhases)
	}

	return phases
}

// phase reads a phase, and how often it takes place.
func (r *reader) phase(n *yaml.Node, path string) (p Phase, times int) {
	times = 1
	accepted := r.steps(&p)
	accepted["name"] = func(path string, v *yaml.Node) { p.Name = r.text(v, path) }
	accepted["for"] = func(path string, v *yaml.Node) { p.For = r.duration(v, path) }
	accepted["repeat"] = func(path string, v *yaml.Node) { times = r.whole(v, path, 1, MaxPhases) }
	found := r.mapping(n, path, accepted)
	r.require(n, path, found, "name", "for")

	return p, times
}

// steps are the fields for what a phase does.
func (r *reader) steps(p *Phase) fields {
	return fields{
		"scale": func(path string, v *yaml.Node) {
			replicas := r.count(v, path, 0)
			p.Scale = &replicas
		},
		"rollout":        func(path string, v *yaml.Node) { r.oneOf(v, path, "true"); p.Rollout = true },
		"delete":         func(path string, v *yaml.Node) { p.Delete = r.count(v, path, 1) },
		"kill":           func(path string, v *yaml.Node) { p.Kill = r.count(v, path, 1) },
		"freeze":         func(path string, v *yaml.Node) { p.Freeze = r.count(v, path, 1) },
		"drain-node":     func(path string, v *yaml.Node) { p.DrainNode = r.node(v, path) },
		"cordon":         func(path string, v *yaml.Node) { p.Cordon = r.node(v, path) },
		"freeze-node":    func(path string, v *yaml.Node) { p.FreezeNode = r.node(v, path) },
		"partition-node": func(path string, v *yaml.Node) { p.PartitionNode = r.node(v, path) },
		"loss":           func(path string, v *yaml.Node) { p.Loss = r.loss(v, path) },
		"delay":          func(path string, v *yaml.Node) { p.Delay = r.delay(v, path) },
		"api-server":     func(path string, v *yaml.Node) { r.oneOf(v, path, "down"); p.APIServerDown = true },
		"dns":            func(path string, v *yaml.Node) { r.oneOf(v, path, "down"); p.DNSDown = true },
	}
}

func (r *reader) loss(n *yaml.Node, path string) *Loss {
	var l Loss
	found := r.mapping(n, path, fields{
		"node":    func(path string, v *yaml.Node) { l.Node = r.node(v, path) },
		"percent": func(path string, v *yaml.Node) { l.Percent = r.whole(v, path, 1, 100) },
	})
	r.require(n, path, found, "node", "percent")

	return &l
}

func (r *reader) delay(n *yaml.Node, path string) *Delay {
	var d Delay
	found := r.mapping(n, path, fields{
		"node": func(path string, v *yaml.Node) { d.Node = r.node(v, path) },
		"by":   func(path string, v *yaml.Node) { d.By = r.between(v, path, time.Millisecond, 10*time.Second, "20ms") },
	})
	r.require(n, path, found, "node", "by")

	return &d
}

func (r *reader) keys(n *yaml.Node, path string) *Keys {
	var k Keys
	found := r.mapping(n, path, fields{
		"count": func(path string, v *yaml.Node) { k.Count = r.whole(v, path, 1, MaxKeys) },
		"skew":  func(path string, v *yaml.Node) { k.Skew = r.skew(v, path) },
	})
	r.require(n, path, found, "count")

	return &k
}

// text reads a string that is not empty.
func (r *reader) text(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" || len(n.Value) > 1000 {
		r.fail(n, path, "%s is not accepted: give a text of 1 to 1000 characters", describe(n))
	}

	return strings.TrimSpace(n.Value)
}

func (r *reader) oneOf(n *yaml.Node, path string, accepted ...string) string {
	if n.Kind != yaml.ScalarNode || !slices.Contains(accepted, n.Value) {
		r.fail(n, path, "%s is not accepted: give %s", describe(n), strings.Join(accepted, " or "))
	}

	return n.Value
}

// count reads a number of pods.
func (r *reader) count(n *yaml.Node, path string, lo int) int {
	return r.whole(n, path, lo, MaxReplicas)
}

// node reads the number of a node.
func (r *reader) node(n *yaml.Node, path string) int { return r.whole(n, path, 1, MaxNodes) }

func (r *reader) whole(n *yaml.Node, path string, lo, hi int) int {
	value, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || value < lo || value > hi {
		r.fail(n, path, "%s is not accepted: give a whole number from %d to %d", describe(n), lo, hi)
	}

	return value
}

// skew reads an exponent that the client's --key-skew accepts.
func (r *reader) skew(n *yaml.Node, path string) float64 {
	value, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(value) || value < MinSkew || value > MaxSkew {
		r.fail(n, path, "%s is not accepted: give Zipf's exponent, %v to %v", describe(n), MinSkew, MaxSkew)
	}

	return value
}

func (r *reader) rate(n *yaml.Node, path string) float64 {
	value, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(value) || value < 0 || value > MaxRate {
		r.fail(n, path, "%s is not accepted: give RPCs a second, 0 to %d", describe(n), MaxRate)
	}

	return value
}

// duration reads how long a phase lasts.
func (r *reader) duration(n *yaml.Node, path string) time.Duration {
	return r.between(n, path, MinFor, MaxFor, "8s")
}

func (r *reader) between(n *yaml.Node, path string, lo, hi time.Duration, example string) time.Duration {
	value, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || value < lo || value > hi {
		r.fail(n, path, "%s is not accepted: give a duration from %v to %v, such as %s", describe(n), lo, hi, example)
	}

	return value
}

// describe says what a node holds, in a few characters.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return fmt.Sprintf("a list of %d", len(n.Content))
	case yaml.AliasNode:
		return "an alias"
	}
	if runes := []rune(n.Value); len(runes) > 40 {
		return strconv.Quote(string(runes[:40]) + "…")
	}

	return strconv.Quote(n.Value)
}
