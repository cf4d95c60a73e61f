package live

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// pods has so many pods, each with n RPCs, in the address book of frame.
func pods(n int) (names []string, addresses []string) {
	for i := range n {
		address := fmt.Sprintf("10.0.0.%d:1", i+1)
		names, addresses = append(names, fmt.Sprint("pod-", i), address), append(addresses, address)
	}

	return names, addresses
}

func TestTheSentenceSaysWhatHappens(t *testing.T) {
	three, known := pods(3)
	uneven := frame(three...)
	uneven.Pods[0].RPCs = 40
	some := frame(three[:4]...)
	failing := &loadreport.Frame{Service: "rng", Seconds: 0.1, RPCs: 10, Failed: 10, ErrorsByCode: map[string]int64{"UNAVAILABLE": 10}, FirstError: "rpc error: code = Unavailable desc = no children to pick from."}
	partly := frame(three...)
	partly.RPCs, partly.Failed, partly.ErrorsByCode = 40, 10, map[string]int64{"UNAVAILABLE": 10}
	for name, test := range map[string]struct {
		known []string
		frame *loadreport.Frame
		want  string
	}{
		"even":                  {known, frame(three...), "3 pods get even shares (max/mean 1.00)."},
		"uneven":                {known, uneven, "3 pods get uneven shares (max/mean 2.00)."},
		"some of them":          {known, some, "2 pods of 3 that are known get RPCs (max/mean 1.50)."},
		"one of them":           {known, frame(three[:2]...), "1 pod of 3 that are known gets everything."},
		"one address":           {known[:1], frame(three[:2]...), "1 pod gets everything: name resolution has 1 address."},
		"behind one address":    {known[:1], frame("a", known[0], "b", known[0]), "2 pods answered in the last 5 s, all behind 1 address."},
		"gone":                  {known[1:], frame(three[:2]...), "Only pods that name resolution has no more answer."},
		"no resolver was heard": {nil, frame(three...), "3 pods get even shares (max/mean 1.00)."},
		"nobody known":          {[]string{}, failing, "Every RPC fails (UNAVAILABLE): name resolution has no endpoint."},
		"failing":               {known, failing, "Every RPC fails (UNAVAILABLE): no children to pick from."},
		"partly failing":        {known, partly, "3 pods get even shares (max/mean 1.00); 25 % of RPCs fail (UNAVAILABLE)."},
		"quiet":                 {known, &loadreport.Frame{Service: "rng", Seconds: 0.1}, "No RPC has been sent in the last seconds."},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub()
			w := h.Watch("rng", "dns:///rng")
			if _, text := w.finding(w.window()); text != "No RPC has ended yet." {
				t.Errorf("at first: %q", text)
			}
			if test.known != nil {
				h.locked(func() { w.resolve(state(test.known...)) })
			}
			for range 80 {
				f := *test.frame
				f.Start = time.Now()
				h.take(&f)
				time.Sleep(100 * time.Millisecond)
			}
			if kind, text := w.finding(w.window()); text != test.want || kind == "" {
				t.Errorf("%s: %q (%s), want %q", name, text, kind, test.want)
			}
		})
	}
}

func TestAWatchedTargetIsResolvedByItsOwnScheme(t *testing.T) {
	for target, want := range map[string]string{
		"dns:///rng:8081": "dns", "rng:8081": "dns", "PASSTHROUGH:///rng:8081": "passthrough", "unix:/run/rng": "unix",
	} {
		if builder := NewHub().Watch("rng", target).builder(); builder.Scheme() != want {
			t.Errorf("%s is resolved by %s, want %s", target, builder.Scheme(), want)
		}
	}
	if long := short(strings.Repeat("é", 400)); len(long) > 310 || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes: %s", len(long), long)
	}
}
