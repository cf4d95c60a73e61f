package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
)

func (s sets) grid(name, overlays, figures string) (string, error) {
	return table(overlays, figures, func(overlay, title string) (string, error) {
		if title == "failed" {
			return s.failed(name, overlay)
		}

		return s.figure(name, overlay, title)
	})
}

func (s sets) phases(name, overlays, phases, title string) (string, error) {
	return table(overlays, phases, func(overlay, phase string) (string, error) {
		return s.phase(name, overlay, false, phase, title)
	})
}

func (s sets) varied(name, setting, overlays, values, title string) (string, error) {
	return table(overlays, values, func(overlay, value string) (string, error) {
		return s.figure(name, overlay+"-"+setting+"-"+value, title)
	})
}

// table is one of rows by columns, each a list with semicolons.
func table(rows, columns string, cell func(row, column string) (string, error)) (string, error) {
	heads := strings.Split(columns, ";")
	var out strings.Builder
	fmt.Fprintf(&out, "| | %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat(" --- |", 1+len(heads)))
	for row := range strings.SplitSeq(rows, ";") {
		cells := []string{row}
		for _, head := range heads {
			text, err := cell(row, head)
			switch {
			case errors.Is(err, errLacks):
				text = "–"
			case err != nil:
				return "", err
			}
			cells = append(cells, text)
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
	}

	return out.String(), nil
}

func (s sets) bars(name, title string, bars ...string) (string, error) {
	var labels, values []string
	highest := 1.0
	for _, bar := range bars {
		label, overlay, found := strings.Cut(bar, "=")
		if !found {
			return "", fmt.Errorf("%q: give LABEL=OVERLAY", bar)
		}
		summaries, err := s.summaries(name, overlay)
		if err != nil {
			return "", err
		}
		sample, _, err := sampleOf(compare.Figures, title, summaries)
		if err != nil {
			return "", err
		}
		value := slices.Max(sample)
		highest = max(highest, value)
		labels = append(labels, strconv.Quote(label))
		values = append(values, significant(value))
	}

	return fmt.Sprintf("```mermaid\nxychart-beta\n    x-axis [%s]\n    y-axis %q 0 --> %.0f\n    bar [%s]\n```\n",
		strings.Join(labels, ", "), title, math.Ceil(highest), strings.Join(values, ", ")), nil
}
