package network

import (
	"net"
	"testing"
)

func TestNoTwoRangesOverlap(t *testing.T) {
	ranges := []string{"192.0.2.0/24", Services}
	for k := 1; k <= MaxNodes; k++ {
		ranges = append(ranges, PodRange(k))
		if !contains(t, Pods, PodRange(k)) {
			t.Errorf("%s of node %d is not in %s", PodRange(k), k, Pods)
		}
		if !contains(t, "192.0.2.0/24", NodeAddress(k)+"/32") || NodeAddress(k) == ControlPlane {
			t.Errorf("node %d has the address %s", k, NodeAddress(k))
		}
	}
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if contains(t, a, b) || contains(t, b, a) {
				t.Errorf("%s and %s overlap", a, b)
			}
		}
	}
	for _, address := range []string{Kubernetes, DNS} {
		if !contains(t, Services, address+"/32") {
			t.Errorf("%s is not in %s", address, Services)
		}
	}
}

func TestEveryRangeIsKeptForExamplesOrTests(t *testing.T) {
	for _, cidr := range []string{ControlPlane + "/32", NodeAddress(MaxNodes) + "/32", Pods, Services} {
		kept := false
		for _, reserved := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"} {
			kept = kept || contains(t, reserved, cidr)
		}
		if !kept {
			t.Errorf("%s may be somebody's", cidr)
		}
	}
}

func contains(t *testing.T, outer, inner string) bool {
	t.Helper()
	_, o, err := net.ParseCIDR(outer)
	if err != nil {
		t.Fatal(err)
	}
	ip, _, err := net.ParseCIDR(inner)
	if err != nil {
		t.Fatal(err)
	}

	return o.Contains(ip)
}
