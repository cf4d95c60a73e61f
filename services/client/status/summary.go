package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// PrintSummary writes the report as a small table, for people.
func PrintSummary(w io.Writer, r Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "service\tRPCs\tRPC/s\tfailed\tfailed attempts\tpods\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t")
	for i := range r.Services {
		s := &r.Services[i]
		l := s.LatencyMs
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n",
			s.Service, s.RPCs, float64(s.RPCs)/r.Seconds, s.Failed, s.FailedAttempts, s.podNames(),
			milliseconds(l.P50), milliseconds(l.P90), milliseconds(l.P99), milliseconds(l.P999), milliseconds(l.Max))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	for i := range r.Services {
		s := &r.Services[i]
		if s.Keys != nil {
			fmt.Fprintf(w, "%s keys: %s\n", s.Service, s.Keys)
		}
		if s.Failed == 0 {
			continue
		}
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(s.ErrorsByCode)) {
			codes = append(codes, fmt.Sprintf("%s %d", code, s.ErrorsByCode[code]))
		}
		fmt.Fprintf(w, "%s failed: %s (last, %s: %s)\n",
			s.Service, strings.Join(codes, ", "), s.LastErrorAt.Format(time.TimeOnly), s.LastError)
	}

	return nil
}

// podNames is how many pods answered. One that gave no name is known by its address.
func (s *ServiceReport) podNames() int64 {
	names := map[string]struct{}{}
	for _, p := range s.Pods {
		switch {
		case p.Name != "":
			names[p.Name] = struct{}{}
		case p.RPCs > 0:
			names[p.Address] = struct{}{}
		}
	}
	n := int64(len(names))
	if s.OtherPods != nil {
		n += s.OtherPods.Pods
	}

	return n
}

func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "–"
	case *ms < 10:
		return fmt.Sprintf("%.2f", *ms)
	case *ms < 100:
		return fmt.Sprintf("%.1f", *ms)
	default:
		return fmt.Sprintf("%.0f", *ms)
	}
}
