package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/interrupt"
	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// podsCommand looks at a client that runs, for some seconds, and says which pods its RPCs went to.
type podsCommand struct {
	Address string        `default:"http://127.0.0.1:8080" help:"Where the client's admin port is."`
	Service string        `default:"rng" enum:"rng,geoip" help:"Service whose pods are asked about: ${enum}."`
	For     time.Duration `default:"5s" help:"How long to look, 1s to 10m."`
	Keys    bool          `env:"-" help:"Print how faithful the keys of RPCs are to pods, too."`
}

// Validate names the first flag that cannot be used. kong calls it.
func (p *podsCommand) Validate() error {
	return config.InRange("for", p.For, time.Second, 10*time.Minute)
}

// Run prints a table. kong calls it.
func (p *podsCommand) Run() error {
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	seen, err := p.look(ctx)
	if err != nil {
		return err
	}

	return seen.print(os.Stdout, p.Keys)
}

// seen is what became of the RPCs to a service that were to be sent within a time.
type seen struct {
	service      string
	seconds      float64
	rpcs, failed int64
	byCode       map[string]int64
	pods         map[string]int64         // RPCs that ended with OK
	keys         map[int]map[string]int64 // the same by key
}

// look reads the client's frames until they are past the time.
func (p *podsCommand) look(ctx context.Context) (*seen, error) {
	ctx, cancel := context.WithTimeout(ctx, p.For+time.Minute) // a frame waits for its slowest RPC
	defer cancel()
	begin := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.Address, "/")+"/events", nil)
	if err != nil {
		return nil, fmt.Errorf("--address: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("is a client running there? %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with %s: that is no client", request.URL, response.Status)
	}

	return collect(json.NewDecoder(response.Body), p.Service, begin, p.For)
}

// collect adds up the frames of a service that begin within a time.
func collect(frames *json.Decoder, service string, begin time.Time, length time.Duration) (*seen, error) {
	s := &seen{
		service: service, seconds: length.Seconds(),
		byCode: map[string]int64{}, pods: map[string]int64{}, keys: map[int]map[string]int64{},
	}
	for {
		var frame loadreport.Frame
		if err := frames.Decode(&frame); errors.Is(err, io.EOF) {
			return nil, errors.New("the client has ended")
		} else if err != nil {
			return nil, fmt.Errorf("the client's frames: %w", err)
		}
		switch {
		case frame.Service != service || frame.Start.Before(begin):
		case frame.Start.Before(begin.Add(length)):
			s.add(&frame)
		default:
			return s, nil
		}
	}
}

func (s *seen) add(frame *loadreport.Frame) {
	s.rpcs += frame.RPCs
	s.failed += frame.Failed
	for code, n := range frame.ErrorsByCode {
		s.byCode[code] += n
	}
	for _, pod := range frame.Pods {
		if pod.RPCs > 0 {
			s.pods[pod.Name] += pod.RPCs
		}
		for key, n := range pod.Keys {
			if s.keys[key] == nil {
				s.keys[key] = map[string]int64{}
			}
			s.keys[key][pod.Name] += n
		}
	}
}

// often is how many RPCs a key needs to have before it counts whether they went to one pod: two of
// two say little.
const often = 10

// stay is how much of the RPCs of keys that came often went to the pod that had most of the key's, and of how many keys that is.
func (s *seen) stay() (share float64, keys int) {
	var most, all int64
	for _, pods := range s.keys {
		counts := slices.Collect(maps.Values(pods))
		var sum int64
		for _, n := range counts {
			sum += n
		}
		if sum < often {
			continue
		}
		keys++
		most += slices.Max(counts)
		all += sum
	}
	if all == 0 {
		return 0, 0
	}

	return float64(most) / float64(all), keys
}

func (s *seen) print(w io.Writer, withKeys bool) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %gs: %d RPCs, %d failed", s.service, s.seconds, s.rpcs, s.failed)
	for _, code := range slices.Sorted(maps.Keys(s.byCode)) {
		fmt.Fprintf(&text, ", %s %d", code, s.byCode[code])
	}
	text.WriteString("\n")
	names := slices.SortedFunc(maps.Keys(s.pods), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.pods[b], s.pods[a]), strings.Compare(a, b))
	})
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, name := range names {
		fmt.Fprintf(table, "  %s\t%d\t%.0f %%\n", cmp.Or(name, "(unnamed)"), s.pods[name], 100*float64(s.pods[name])/float64(s.rpcs-s.failed))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if withKeys {
		share, keys := s.stay()
		fmt.Fprintf(&text, "%.2f of a key's RPCs went to one pod (of the %d keys that came ten times or more)\n", share, keys)
	}
	_, err := io.WriteString(w, text.String())

	return err
}
