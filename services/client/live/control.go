package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/load"
)

// maxChange is more than any Change takes, in bytes.
const maxChange = 4096

// Change is what the controls ask for. What is absent stays as it is.
type Change struct {
	// Service is "rng" or "geoip".
	Service string `json:"service"`
	// Rate is in RPCs a second; 0 calls back to back, Concurrency at a time.
	Rate        *float64 `json:"rate"`
	Concurrency *int     `json:"concurrency"`
	// Keys is how keys are drawn: "none", "uniform" or "zipf".
	Keys *string `json:"keys"`
	// Payload is how many values an RPC asks for.
	Payload *int `json:"payload"`
}

// ParseChange reads a Change in JSON. An error names the field, the value and what is accepted.
func ParseChange(text []byte) (Change, error) {
	var c Change
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return Change{}, fmt.Errorf("%s: a %s is not accepted: give a %s", kind.Field, kind.Value, wanted(kind.Field))
		}

		return Change{}, fmt.Errorf("the change is not one JSON object with service, rate, concurrency, keys and payload: %s",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Change{}, errors.New("there is more after the change: give one JSON object")
	}

	return c, c.check()
}

func wanted(field string) string {
	switch field {
	case "service", "keys":
		return "word"
	case "rate":
		return "number"
	default:
		return "whole number"
	}
}

func (c *Change) check() error {
	if c.Service == "" {
		return errors.New("service: is missing: give rng or geoip")
	}
	if c.Rate != nil {
		if err := load.CheckRate(*c.Rate); err != nil {
			return fmt.Errorf("rate: %w", err)
		}
	}
	if c.Keys != nil && !slices.Contains(distributions, *c.Keys) {
		return fmt.Errorf("keys: %q is not accepted: give %s", short(*c.Keys), strings.Join(distributions, ", "))
	}
	for _, field := range []struct {
		name  string
		value *int
		most  int
	}{{"concurrency", c.Concurrency, load.MaxConcurrency}, {"payload", c.Payload, load.MaxPayload}} {
		if field.value != nil && (*field.value < 1 || *field.value > field.most) {
			return fmt.Errorf("%s: %d is out of range: give 1 to %d", field.name, *field.value, field.most)
		}
	}

	return nil
}

var distributions = []string{keys.None, keys.Uniform, keys.Zipf}

// ServeControl changes the load of the services while it runs: POST with a Change in JSON. The answer
// is the load in force, or {"error": ...}. A page of another origin is refused. The flags say how keys
// are drawn if they are.
func (h *Hub) ServeControl(flags keys.Config) http.Handler {
	protection := http.NewCrossOriginProtection()

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "the request comes from a page of another origin")

			return
		}
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, "the content type is not application/json")

			return
		}
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChange))
		if err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the change cannot be read, or has over %d bytes", maxChange))

			return
		}
		change, err := ParseChange(text)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())

			return
		}
		generator := h.generator(change.Service)
		if generator == nil {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("service: %q is not called by this client", short(change.Service)))

			return
		}
		if change.Payload != nil && generator.SetPayload == nil {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("payload: %s has none to set", change.Service))

			return
		}
		in := h.apply(change, generator, flags)
		answer(w, http.StatusOK, in)
	})
}

// generator is the one of a service; nil if there is none.
func (h *Hub) generator(service string) *load.Generator {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.find(service); w != nil {
		return w.service.Generator
	}

	return nil
}

// apply puts a change in force. Two at a time would undo each other's.
func (h *Hub) apply(c Change, g *load.Generator, flags keys.Config) Load {
	h.changing.Lock()
	defer h.changing.Unlock()
	plan := g.Plan()
	set(&plan.Rate, c.Rate)
	set(&plan.Concurrency, c.Concurrency)
	set(&plan.Payload, c.Payload)
	if c.Keys != nil && *c.Keys != loadOf(g).Keys {
		flags.Keys = *c.Keys
		plan.Keys = keys.NewSet(flags)
	}
	g.Change(plan)
	in := loadOf(g)
	h.changedByHand(c.Service, fmt.Sprintf("%v, keys: %s%s", plan, in.Keys, values(plan.Payload)))

	return in
}

func values(payload int) string {
	if payload == 0 {
		return ""
	}

	return fmt.Sprintf(", values per RPC: %d", payload)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, map[string]string{"error": why})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// A reader that has gone away is no news.
	_ = json.NewEncoder(w).Encode(body)
}
