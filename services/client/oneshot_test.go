package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRollPrintsTheNumbersAndWhoServedThem(t *testing.T) {
	address := serve(t)
	code, stdout, stderr := run(t, nil, "roll", "--rng-target="+address, "--min=5", "--max=9", "--count=3")
	if code != 0 || !strings.HasPrefix(stdout, "9 9 9\nserved by rng-0 at 127.0.0.1:") || !strings.HasSuffix(stdout, " ms\n") || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, []string{"RNG_TARGET=" + address}, "roll", "--max=2", "--json")
	var answer struct {
		Values            []int64
		ServedBy, Address string
		LatencyMs         float64
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 0 || len(answer.Values) != 1 || answer.Values[0] != 2 ||
		answer.ServedBy != "rng-0" || answer.LatencyMs <= 0 || !strings.HasSuffix(address, answer.Address) {
		t.Errorf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
}

func TestLookupPrintsWhatIsKnownOfEachAddress(t *testing.T) {
	address := serve(t)
	code, stdout, stderr := run(t, nil, "lookup", "--geoip-target="+address, "8.8.8.8", "8.8.4.4")
	want := "8.8.8.8  in 8.8.8.0/24  US United States  Mountain View  37.3860, -122.0838  AS15169 Google LLC  (Test-City, built 2023-11-14)\n"
	if code != 0 || !strings.HasPrefix(stdout, want+"served by geoip-0 at ") || strings.Count(stdout, "\n") != 4 || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, nil, "lookup", "--geoip-target="+address, "8.8.8.8", "--json")
	var answer struct {
		Record   struct{ Country struct{ IsoCode string } }
		ServedBy string
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 0 || answer.Record.Country.IsoCode != "US" || answer.ServedBy != "geoip-0" {
		t.Errorf("exit %d, %v\n%s", code, err, stdout)
	}
}

func TestAnRPCThatFailsIsItsStatusInALineAndExit1(t *testing.T) {
	address := serve(t)
	code, stdout, stderr := run(t, nil, "roll", "--rng-target="+address, "--count=1001")
	if code != 1 || stdout != "" || stderr != "client: roll: INVALID_ARGUMENT: count: 1 to 1000 please\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, nil, "lookup", "--geoip-target="+address, "10.0.0.1", "8.8.8.8", "10.0.0.2")
	if code != 1 || !strings.HasPrefix(stdout, "8.8.8.8 ") ||
		stderr != "client: lookup \"10.0.0.1\": NOT_FOUND: no record for 10.0.0.1\nclient: lookup \"10.0.0.2\": NOT_FOUND: no record for 10.0.0.2\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, _, stderr = run(t, nil, "roll", "--rng-target=127.0.0.1:1", "--timeout=5s")
	if code != 1 || !strings.HasPrefix(stderr, "client: roll: UNAVAILABLE: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
