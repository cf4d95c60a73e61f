package report

import (
	"slices"
	"testing"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestAFindingSaysWhatTheFiguresSay(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	tests := map[string]struct {
		sum  results.Summary
		want string
	}{
		"one pod of three, new pods never reached": {
			results.Summary{
				RPCs: 14032, GracefulRPCs: 10000,
				Steady:  results.Steady{MaxOverMean: f(3), Pods: 3, Used: 1, RPCs: 1200},
				NewPods: results.NewPods{Count: 9, Never: 9},
			},
			"put all 1,200 RPCs of the steady phase on 1 of 3 pods, never reached any of 9 new pods, and failed none of 14,032 RPCs.",
		},
		"even, all reached, excused failures": {
			results.Summary{
				RPCs: 14400, Failed: 989, GracefulRPCs: 10000,
				Steady:  results.Steady{MaxOverMean: f(1.004), Pods: 3, Used: 3, RPCs: 1200},
				NewPods: results.NewPods{Count: 13, Median: f(0.141), Worst: f(1.2)},
			},
			"spread its load evenly over 3 pods (max/mean 1.00), reached all 13 new pods (median 0.14 s, worst 1.20 s), and failed no RPC in graceful phases (989 of 14,400 in all).",
		},
		"uneven, some reached, graceful failures among others": {
			results.Summary{
				RPCs: 14400, Failed: 2000, GracefulRPCs: 10000, GracefulFailed: 1500,
				Steady:  results.Steady{MaxOverMean: f(1.51), Pods: 5, Used: 5, RPCs: 1200},
				NewPods: results.NewPods{Count: 13, Never: 4, Median: f(0.141), Worst: f(1.2)},
			},
			"gave the busiest of 5 pods 1.51× the mean, never reached 4 of 13 new pods, and failed 1,500 RPCs in graceful phases (2,000 of 14,400 in all).",
		},
		"some pods unused, graceful failures only": {
			results.Summary{
				RPCs: 100, Failed: 3, GracefulRPCs: 100, GracefulFailed: 3,
				Steady: results.Steady{MaxOverMean: f(2.5), Pods: 5, Used: 2, RPCs: 97},
			},
			"used 2 of 5 steady pods, the busiest at 2.50× the mean, and failed 3 of 100 RPCs, all in graceful phases.",
		},
		"one new pod": {
			results.Summary{RPCs: 10, NewPods: results.NewPods{Count: 1, Median: f(0.2), Worst: f(0.2)}},
			"reached the new pod after 0.20 s, and failed none of 10 RPCs.",
		},
		"one new pod, never reached": {
			results.Summary{RPCs: 10, NewPods: results.NewPods{Count: 1, Never: 1}},
			"never reached the new pod, and failed none of 10 RPCs.",
		},
		"keys that keep their pods": {
			results.Summary{RPCs: 10, Steady: results.Steady{MaxOverMean: f(1.5), Pods: 3, Used: 3, RPCs: 10, Affinity: f(0.9996)}},
			"gave the busiest of 3 pods 1.50× the mean, kept keys on their pods (99.9 % of RPCs), and failed none of 10 RPCs.",
		},
		"keys that go anywhere": {
			results.Summary{RPCs: 10, Steady: results.Steady{MaxOverMean: f(1), Pods: 3, Used: 3, RPCs: 10, Affinity: f(0.34)}},
			"spread its load evenly over 3 pods (max/mean 1.00), and failed none of 10 RPCs.",
		},
		"keys that have one pod for all": {
			results.Summary{RPCs: 10, Steady: results.Steady{MaxOverMean: f(3), Pods: 3, Used: 1, RPCs: 10, Affinity: f(1)}},
			"put all 10 RPCs of the steady phase on 1 of 3 pods, and failed none of 10 RPCs.",
		},
		"nothing measured": {results.Summary{}, "sent no RPC."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := finding(&test.sum); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestANumberKeepsAboutThreeDigits(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.00", 0.004: "0.00", 0.14: "0.14", 9.994: "9.99", 9.996: "10.0", 30.06: "30.1", 99.96: "100", 1234.4: "1,234", 1234.6: "1,235", -0.25: "-0.25", -1234: "-1,234",
	} {
		if got := Number(f); got != want {
			t.Errorf("Number(%v) is %s, want %s", f, got, want)
		}
	}
}

func TestAnAffinityIsWholeOnlyIfItIs(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0 %", 0.29: "29.0 %", 0.3339: "33.3 %", 0.9999: "99.9 %", 1: "100 %"} {
		if got := affinity(f); got != want {
			t.Errorf("affinity(%v) is %s, want %s", f, got, want)
		}
	}
}

func TestACountGroupsThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 14032: "14,032", 1234567: "1,234,567", -999: "-999", -14032: "-14,032"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) is %s, want %s", n, got, want)
		}
	}
}

func TestASmallMapSaysWhatFailedAndWhoWasReached(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	for want, sum := range map[[2]figure]results.Summary{
		{{Text: "failed: 0"}, {Text: "no new pod"}}: {RPCs: 10, GracefulRPCs: 10},
		{{Text: "failed: 0 graceful, 1,500 all"}, {Text: "new pods reached in 1.20 s"}}: {
			RPCs: 2000, Failed: 1500, GracefulRPCs: 500, NewPods: results.NewPods{Count: 2, Median: f(1), Worst: f(1.2)},
		},
		{{Text: "failed: 3 graceful, 5 all", Alarm: true}, {Text: "1 of 2 new pods never reached", Alarm: true}}: {
			RPCs: 10, Failed: 5, GracefulRPCs: 5, GracefulFailed: 3, NewPods: results.NewPods{Count: 2, Never: 1, Median: f(1), Worst: f(1)},
		},
		{{Text: "failed: 2"}, {Text: "no new pod"}}: {RPCs: 10, Failed: 2},
	} {
		if got := brief(&sum); [2]figure(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestThePageSaysWhichClusterItWas(t *testing.T) {
	cluster := &results.Cluster{Version: "v1.36.3", ProxyMode: "nftables", Nodes: make([]results.Node, 2)}
	said := facts(&results.Results{Environment: results.Environment{Kind: "kubernetes", Cluster: cluster}})
	if want := "Kubernetes v1.36.3, 2 nodes, kube-proxy with nftables"; !slices.Contains(said, want) {
		t.Errorf("%q does not say %q", said, want)
	}
}
