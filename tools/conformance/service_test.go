package conformance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func newService(slices ...slice) *service {
	s := &service{namespace: "ns", name: "rng", slices: map[string]slice{}}
	for _, each := range slices {
		s.slices[each.name] = each
	}

	return s
}

// subsets are the ready and the unready addresses of each subset, with the name of its first port before them.
func subsets(s *service) (all [][]string) {
	for _, subset := range s.endpoints().Subsets {
		text := []string{"-"}
		if len(subset.Ports) > 0 {
			text[0] = subset.Ports[0].Name
		}
		for _, address := range subset.Addresses {
			text = append(text, address.IP)
		}
		for _, address := range subset.NotReadyAddresses {
			text = append(text, "not "+address.IP)
		}
		all = append(all, text)
	}

	return all
}

func TestEndpointsSayWhatTheControllerWouldMakeOfThePods(t *testing.T) {
	p := pod{ip: "10.0.0.1"}
	for name, test := range map[string]struct {
		slices []slice
		want   [][]string
	}{
		"ready and unready": {
			[]slice{sliceOf("a", p, pod{ip: "10.0.0.2", condition: unready}, pod{ip: "10.0.0.3", condition: unset})},
			[][]string{{"grpc", "10.0.0.1", "10.0.0.3", "not 10.0.0.2"}},
		},
		"terminating pods are in neither": {[]slice{sliceOf("a", p.but(terminating), pod{ip: "10.0.0.2", condition: ended})}, nil},
		"a pod in two slices is there once": {
			[]slice{sliceOf("a", p), sliceOf("b", p, pod{ip: "10.0.0.2"})}, [][]string{{"grpc", "10.0.0.1", "10.0.0.2"}},
		},
		"one family": {[]slice{sliceOf("v4", p), sliceOf("v6", pod{ip: "fd00::1"})}, [][]string{{"grpc", "10.0.0.1"}}},
		"IPv6 only":  {[]slice{sliceOf("v6", pod{ip: "fd00::1"})}, [][]string{{"grpc", "fd00::1"}}},
		"a subset for each set of ports": {
			[]slice{sliceOf("a", p), {name: "b", pods: at("10.0.0.2"), ports: []port{{"rpc", 1}}}, {name: "c", pods: at("10.0.0.3"), bare: true}},
			[][]string{{"grpc", "10.0.0.1"}, {"rpc", "10.0.0.2"}, {"-", "10.0.0.3"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, subsets(newService(test.slices...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointsAreTruncatedAtAThousandTheReadyOnesFirst(t *testing.T) {
	pods := many(0, 1500)
	for i := range 700 {
		pods[i].condition = unready
	}
	object := newService(sliceOf("a", pods...)).endpoints()
	if ready, not := len(object.Subsets[0].Addresses), len(object.Subsets[0].NotReadyAddresses); ready != 800 || not != 200 {
		t.Errorf("%d ready and %d unready addresses, want 800 and 200", ready, not)
	}
	if object.Annotations[corev1.EndpointsOverCapacity] != "truncated" {
		t.Errorf("annotations are %v", object.Annotations)
	}
	if object := newService(sliceOf("a", many(0, 1000)...)).endpoints(); len(object.Subsets[0].Addresses) != 1000 || object.Annotations != nil {
		t.Errorf("a thousand are truncated to %d", len(object.Subsets[0].Addresses))
	}
}

func TestSlicesSayTheConditionsOfTheirPods(t *testing.T) {
	var got [][]string
	for c := ready; c <= ended; c++ {
		conditions := newService().endpoint(pod{ip: "10.0.0.1", condition: c}).Conditions
		var text []string
		for _, condition := range []*bool{conditions.Ready, conditions.Serving, conditions.Terminating} {
			switch {
			case condition == nil:
				text = append(text, "nil")
			case *condition:
				text = append(text, "true")
			default:
				text = append(text, "false")
			}
		}
		got = append(got, text)
	}
	want := [][]string{
		ready:       {"true", "true", "false"},
		unready:     {"false", "false", "false"},
		unset:       {"nil", "nil", "nil"},
		terminating: {"false", "true", "true"},
		ended:       {"false", "false", "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
