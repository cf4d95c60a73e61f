package main

import (
	"fmt"
	"slices"
	"strings"
)

func (s sets) where(name string) (string, error) {
	set, err := s.get(name)
	if err != nil {
		return "", err
	}
	switch set.Output {
	case benchOutput:
		return set.Bench[0].date + ", " + set.Bench[0].where, nil
	case labOutput:
		return whereLab(set), nil
	default:
		return set.Text[0].date + ", " + set.Text[0].where, nil
	}
}

func whereLab(set set) string {
	r := set.Lab[0]
	e := r.Environment
	words := []string{r.StartedAt.UTC().Format("2006-01-02")}
	if c := e.Cluster; c != nil {
		words = append(words, fmt.Sprintf("Kubernetes %s, %d nodes", c.Version, len(c.Nodes)))
		if c.ProxyMode != "" {
			words = append(words, "kube-proxy with "+c.ProxyMode)
		}
	} else {
		words = append(words, "local lab")
	}
	words = append(words, fmt.Sprintf("%d CPUs, %s/%s", e.CPUs, e.OS, e.Arch))
	if busy := busyOf(set); busy != "" {
		words = append(words, busy)
	}

	return strings.Join(words, ", ")
}

// busyOf says how busy the machine was in the runs of a set.
func busyOf(s set) string {
	var busy []float64
	for _, r := range s.Lab {
		if r.Environment.BusyFraction == nil {
			return ""
		}
		busy = append(busy, 100**r.Environment.BusyFraction)
	}
	low, high := fmt.Sprintf("%.0f", slices.Min(busy)), fmt.Sprintf("%.0f", slices.Max(busy))
	if low == high {
		return low + " % busy"
	}

	return low + " to " + high + " % busy"
}

func (s sets) list() (string, error) {
	var out strings.Builder
	out.WriteString("| set | what it is | runs | measured |\n| --- | --- | --- | --- |\n")
	for _, set := range s {
		where, err := s.where(set.Name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "| [%s](%s) | %s | %d | %s |\n", set.Name, set.Name, set.About, len(set.commands()), where)
	}

	return out.String(), nil
}
