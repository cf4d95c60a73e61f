package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
)

// inTurn opens connections to pods one after the other, and counts what is open.
func inTurn(pods int, open *atomic.Int64) opener {
	var next atomic.Int64

	return func() (string, func() error, error) {
		open.Add(1)

		return string(rune('a' + next.Add(1)%int64(pods))), func() error { open.Add(-1); return nil }, nil
	}
}

func TestConnectionsThatAreDealtInTurnAreEven(t *testing.T) {
	s := spreadCommand{Connections: []int{1, 5, 50}, Trials: 20}
	var open atomic.Int64
	pods, spreads, err := s.measure(t.Context(), io.Discard, inTurn(5, &open))
	if err != nil || pods != 5 || open.Load() != 0 {
		t.Fatalf("%d pods, %d connections are still open: %v", pods, open.Load(), err)
	}
	for i, want := range []spread{{MaxMean: 5, MaxMeanWorst: 5, Idle: 0.8}, {MaxMean: 1, MaxMeanWorst: 1}, {MaxMean: 1, MaxMeanWorst: 1}} {
		got := spreads[i]
		if math.Abs(got.MaxMean-want.MaxMean)+math.Abs(got.MaxMeanWorst-want.MaxMeanWorst)+math.Abs(got.Idle-want.Idle) > 1e-9 {
			t.Errorf("%d connections: %+v, want %+v", s.Connections[i], got, want)
		}
	}
}

// The probability that a pod of five gets none of five connections is (4/5)^5.
func TestChanceIsThatOfADie(t *testing.T) {
	maxMean, _, idle := summary(5, 5, chance(5, 5))
	if math.Abs(idle-math.Pow(0.8, 5)) > 0.01 || maxMean < 2.2 || maxMean > 2.35 {
		t.Errorf("max/mean %.3f, idle %.3f", maxMean, idle)
	}
}

func TestASpreadThatCannotBeMeasuredSaysWhy(t *testing.T) {
	s := spreadCommand{Connections: []int{20}, Trials: 1}
	var open atomic.Int64
	working := inTurn(2, &open)
	var calls atomic.Int64
	_, _, err := s.measure(t.Context(), io.Discard, func() (string, func() error, error) {
		if calls.Add(1) == 3 {
			return "", nil, errors.New("refused")
		}

		return working()
	})
	if err == nil || err.Error() != "refused" || open.Load() != 0 {
		t.Errorf("%v; %d are still open", err, open.Load())
	}
}

func TestSpreadPrintsATableOrJSON(t *testing.T) {
	address := serve(t)
	code, stdout, stderr := run(t, nil, "spread", "--rng-target="+address, "--connections=1,3", "--trials=2")
	if code != 0 || !strings.Contains(stdout, "connections  max/mean") || !strings.Contains(stdout, "pods: 1;") ||
		stderr != "client: 1 connections, 2 times\nclient: 3 connections, 2 times\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, nil, "spread", "--rng-target="+address, "--connections=3", "--trials=2", "--json")
	var answer struct {
		Pods, Trials int
		Spreads      []spread
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 0 || answer.Pods != 1 || answer.Trials != 2 ||
		len(answer.Spreads) != 1 || answer.Spreads[0] != (spread{Connections: 3, MaxMean: 1, MaxMeanWorst: 1, MaxMeanByChance: 1}) {
		t.Errorf("exit %d, %v\n%s", code, err, stdout)
	}
	for _, bad := range []struct{ args, want string }{
		{"--connections=0", "--connections: 0 is out of range"},
		{"--trials=0", "--trials: 0 is out of range"},
		{"--rng-target=", "missing --rng-target"},
	} {
		code, _, stderr := run(t, nil, "spread", "--rng-target="+address, bad.args)
		if code == 0 || !strings.Contains(stderr, bad.want) {
			t.Errorf("%s: exit %d: %s", bad.args, code, stderr)
		}
	}
}
