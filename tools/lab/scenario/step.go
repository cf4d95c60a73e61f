package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// All is, as the overlay of a step, every overlay at the same moment.
const All = "all"

// Step is what is done by hand while overlays run: what a phase may do, to one overlay or to all of them. There is no
// end of a phase that would end what it began. So pods are frozen for a time, and what is down is so until it is up.
type Step struct {
	// Overlay is the name of one, or All.
	Overlay string
	// Phase is what is done. Its For is how long pods are frozen; 0 without any.
	Phase Phase
	// APIServerUp and DNSUp end what earlier steps have begun.
	APIServerUp, DNSUp bool
}

// ParseStep reads a step: a JSON (or YAML) mapping with the overlay and the fields of a phase for what is done, such as
//
//	{"overlay": "all", "rollout": true}
//	{"overlay": "clusterip", "freeze": 1, "for": "15s"}
//	{"overlay": "clusterip", "dns": "down"}
//
// An error is one line that names the field, the value and what is accepted.
func ParseStep(text []byte) (*Step, error) {
	r := &reader{file: "step", what: "step"}
	document, err := r.document(text, `an overlay and what is done to it, as in {"overlay": "all", "rollout": true}`)
	if err != nil {
		return nil, err
	}
	s := r.step(document)

	return s, r.err
}

func (r *reader) step(n *yaml.Node) *Step {
	s := &Step{}
	accepted := r.steps(&s.Phase)
	known := stepNames()
	accepted["overlay"] = func(path string, v *yaml.Node) { s.Overlay = r.text(v, path) }
	accepted["for"] = func(path string, v *yaml.Node) { s.Phase.For = r.duration(v, path) }
	accepted["api-server"] = func(path string, v *yaml.Node) { s.Phase.APIServerDown, s.APIServerUp = r.downOrUp(v, path) }
	accepted["dns"] = func(path string, v *yaml.Node) { s.Phase.DNSDown, s.DNSUp = r.downOrUp(v, path) }
	found := r.mapping(n, "", accepted)
	r.require(n, "", found, "overlay")
	switch does := slices.ContainsFunc(found, func(name string) bool { return slices.Contains(known, name) }); {
	case !does:
		r.fail(n, "the step", "nothing is done: give one or more of %s", strings.Join(known, ", "))
	case s.Phase.Freeze > 0 && s.Phase.For == 0:
		r.fail(n, "for", "missing: give how long the pods are frozen, such as 15s")
	case s.Phase.Freeze == 0 && s.Phase.For > 0:
		r.fail(n, "for", "of use with freeze only: what is down is so until it is up")
	}

	return s
}

func (r *reader) downOrUp(n *yaml.Node, path string) (down, up bool) {
	is := r.oneOf(n, path, "down", "up")

	return is == "down", is == "up"
}

// stepNames are those of all that a phase may do.
func stepNames() []string {
	names := make([]string, 0, len(steps))
	for _, s := range steps {
		names = append(names, s.name)
	}
	slices.Sort(names)

	return names
}

// Action says what the step does, for people.
func (s *Step) Action() string {
	var actions []string
	if s.APIServerUp {
		actions = append(actions, "API server up")
	}
	if s.DNSUp {
		actions = append(actions, "DNS up")
	}
	if action := s.Phase.Action(); action != "" {
		frozen := "freeze " + pods(s.Phase.Freeze)
		actions = append(actions, strings.Replace(action, frozen, frozen+" for "+s.Phase.For.String(), 1))
	}

	return strings.Join(actions, ", ")
}
