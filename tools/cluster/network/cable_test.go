//go:build linux

package network

import (
	"strings"
	"testing"
)

func TestALossIsDrawnFromTenThousand(t *testing.T) {
	for share, want := range map[int]string{
		1:      "numgen random mod 10000 <= 0 drop",
		500:    "numgen random mod 10000 <= 499 drop",
		10_000: "numgen random mod 10000 <= 9999 drop", // all of them
	} {
		if rules := lossRules("loss_eth0", "eth0", share); !strings.Contains(rules, want) {
			t.Errorf("%d of 10,000: %s", share, rules)
		}
	}
}

func TestBothEndsOfACableHaveTablesOfTheirOwn(t *testing.T) {
	// Two nodes' cables end in the control plane's network.
	one, two := Cable{ControlPlane: 1, Node: 2, K: 1}.ends(), Cable{ControlPlane: 1, Node: 3, K: 2}.ends()
	seen := map[end]bool{}
	for _, e := range append(one[:], two[:]...) {
		if seen[e] {
			t.Errorf("%+v is the end of two cables", e)
		}
		seen[e] = true
	}
}
