package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// frames is a stream as a client has it, from before a time to after it.
func frames(begin time.Time) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	at := func(seconds float64, service string, pods ...loadreport.Pod) {
		f := loadreport.Frame{Service: service, Start: begin.Add(time.Duration(seconds * 1e9)), Pods: pods}
		for _, p := range pods {
			f.RPCs += p.RPCs + p.FailedAttempts
			if f.Failed += p.FailedAttempts; f.Failed > 0 {
				f.ErrorsByCode = map[string]int64{"UNAVAILABLE": f.Failed}
			}
		}
		if err := encoder.Encode(f); err != nil {
			panic(err) // it is plain
		}
	}
	at(-1, "rng", loadreport.Pod{Name: "before", RPCs: 99})
	at(0, "rng", loadreport.Pod{Name: "rng-a", RPCs: 30, Keys: map[int]int64{0: 12, 1: 9}}, loadreport.Pod{Name: "rng-b", RPCs: 10, Keys: map[int]int64{0: 4}})
	at(0.5, "geoip", loadreport.Pod{Name: "geoip-a", RPCs: 7})
	at(1, "rng", loadreport.Pod{Name: "rng-b", RPCs: 20, FailedAttempts: 2})
	at(2, "rng", loadreport.Pod{Name: "after", RPCs: 99})

	return text.String()
}

func TestPodsSaysWhereTheRPCsOfATimeWent(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, err := collect(json.NewDecoder(strings.NewReader(frames(begin))), "rng", begin, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := s.print(&got, true); err != nil {
		t.Fatal(err)
	}
	const want = `rng, 2s: 62 RPCs, 2 failed, UNAVAILABLE 2
  rng-a  30  50 %
  rng-b  30  50 %
0.75 of a key's RPCs went to one pod (of the 1 keys that came ten times or more)
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestPodsSaysWhatIsWrongWithTheClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ended/events":
			fmt.Fprint(w, frames(time.Now().Add(-time.Hour)))
		case "/other/events":
			fmt.Fprint(w, "<html>")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/ended": "the client has ended", "/other/": "the client's frames: invalid character", "/none": "answers with 404 Not Found: that is no client",
	} {
		code, _, stderr := run(t, nil, "pods", "--address="+server.URL+path, "--for=1s")
		if code != 1 || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", path, code, stderr)
		}
	}
	if code, _, stderr := run(t, nil, "pods", "--for=1ms"); code != 2 || !strings.Contains(stderr, "--for: 1ms is out of range: give 1s to 10m0s") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}
