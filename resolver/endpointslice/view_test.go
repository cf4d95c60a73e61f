package endpointslice

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// merge builds the view of a target over slices.
func merge(t *testing.T, v *view, objects ...*discoveryv1.EndpointSlice) ([]string, error) {
	t.Helper()
	var all []*slice
	for _, object := range objects {
		all = append(all, readSlice(object))
	}
	endpoints, err := v.build(all)
	return texts(endpoints), err
}

func grpcView() *view { return &view{target: Target{Port: "grpc", ZoneMinimum: 1}, zone: "a"} }

func wantMerged(t *testing.T, v *view, want []string, objects ...*discoveryv1.EndpointSlice) {
	t.Helper()
	got, err := merge(t, v, objects...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// However the slices and their endpoints are ordered.
	for range 10 {
		objects = slices.Clone(objects)
		rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		for _, o := range objects {
			rand.Shuffle(len(o.Endpoints), func(i, j int) { o.Endpoints[i], o.Endpoints[j] = o.Endpoints[j], o.Endpoints[i] })
		}
		if again, err := merge(t, v, objects...); err != nil || !slices.Equal(again, got) {
			t.Fatalf("in another order: %v, %v", again, err)
		}
	}
}

func TestBothFamiliesOfAPodAreOneEndpoint(t *testing.T) {
	wantMerged(t, grpcView(), []string{"10.0.0.1:8081+[fd00::1]:8081", "10.0.0.2:8081", "[fd00::3]:8081"},
		sliceOf("rng-6", 8081, pod("c", "fd00::3"), pod("a", "fd00::1"), pod("b", "fd00::2", unready)),
		sliceOf("rng-4", 8081, pod("b", "10.0.0.2"), pod("a", "10.0.0.1")))
}

func TestAnEndpointInTwoSlicesIsOne(t *testing.T) {
	wantMerged(t, grpcView(), []string{"10.0.0.1:8081", "10.0.0.2:8081"},
		sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2")),
		sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
}

func TestOfTwoEntriesTheBetterOneCounts(t *testing.T) {
	wantMerged(t, grpcView(), []string{"10.0.0.1:8081"},
		sliceOf("rng-1", 8081, pod("a", "10.0.0.1", unready)),
		sliceOf("rng-2", 8081, pod("a", "10.0.0.1")),
		sliceOf("rng-3", 8081, pod("before", "10.0.0.1", leaving)))
}

func TestEverySliceHasItsOwnPortNumbers(t *testing.T) {
	wantMerged(t, grpcView(), []string{"10.0.0.1:8081", "10.0.0.2:9090"},
		sliceOf("rng-1", 8081, pod("a", "10.0.0.1")), sliceOf("rng-2", 9090, pod("b", "10.0.0.2")))
}

func TestEndpointsWithoutAPodAreTakenByTheirAddresses(t *testing.T) {
	bare := func(e *discoveryv1.Endpoint) { e.TargetRef, e.NodeName, e.Zone = nil, nil, nil }
	wantMerged(t, grpcView(), []string{"10.0.0.1:8081", "10.0.0.2:8081"},
		sliceOf("rng-1", 8081, pod("", "10.0.0.1", bare), pod("", "10.0.0.2", bare)),
		sliceOf("rng-2", 8081, pod("", "10.0.0.1", bare)))
}

func TestConditionsAreReadAsTheAPISays(t *testing.T) {
	yes, no := new(true), new(false)
	for want, each := range map[condition][]discoveryv1.EndpointConditions{
		ready:              {{}, {Ready: yes}, {Ready: yes, Serving: no, Terminating: yes}},
		servingTerminating: {{Ready: no, Serving: yes, Terminating: yes}, {Ready: no, Terminating: yes}},
		terminating:        {{Ready: no, Serving: no, Terminating: yes}},
		notReady:           {{Ready: no}, {Ready: no, Serving: yes}, {Ready: no, Serving: no, Terminating: no}},
	} {
		for _, c := range each {
			if got := conditionOf(c); got != want {
				t.Errorf("%+v: got %v, want %v", c, got, want)
			}
		}
	}
}

func TestServingEndpointsAreUsedWhenNothingIsReady(t *testing.T) {
	wantMerged(t, grpcView(), []string{"10.0.0.2:8081"},
		sliceOf("rng-1", 8081, pod("a", "10.0.0.1", unready), pod("b", "10.0.0.2", leaving), pod("c", "10.0.0.3", left)))
	wantMerged(t, grpcView(), []string{"10.0.0.4:8081"},
		sliceOf("rng-1", 8081, pod("b", "10.0.0.2", leaving), pod("d", "10.0.0.4")))
	wantMerged(t, grpcView(), []string{},
		sliceOf("rng-1", 8081, pod("a", "10.0.0.1", unready), pod("c", "10.0.0.3", left)))
}

func TestAPortIsFoundByNameOrNumberOrAlone(t *testing.T) {
	two := sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))
	two.Ports = append(two.Ports, discoveryv1.EndpointPort{Name: new("http"), Port: ptr.To[int32](8080)})
	nameless := sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))
	nameless.Ports[0].Name, nameless.Ports[0].Protocol = nil, nil
	portless := sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))
	portless.Ports[0].Port = nil
	udp := sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))
	udp.Ports[0].Protocol = ptr.To(corev1.ProtocolUDP)
	for _, each := range []struct {
		name, port string
		slice      *discoveryv1.EndpointSlice
		want, err  string
	}{
		{"by name", "http", two, "10.0.0.1:8080", ""},
		{"by number", "8081", two, "10.0.0.1:8081", ""},
		{"by another name", "metrics", two, "", `has no port "metrics": there are grpc (8081), http (8080)`},
		{"by another number", "80", two, "", `has no port "80": there are grpc (8081), http (8080)`},
		{"two and none named", "", two, "", "names none: there are grpc (8081), http (8080)"},
		{"the only one", "", nameless, "10.0.0.1:8081", ""},
		{"one without a name", "grpc", nameless, "", "8081 (without a name)"},
		{"one without a number", "grpc", portless, "", "list no TCP port with a number"},
		{"UDP", "grpc", udp, "", "list no TCP port with a number"},
	} {
		got, err := merge(t, &view{target: Target{Port: each.port}}, each.slice)
		switch {
		case each.err == "" && (err != nil || strings.Join(got, " ") != each.want):
			t.Errorf("%s: got %v, %v", each.name, got, err)
		case each.err != "" && (err == nil || !strings.Contains(err.Error(), each.err)):
			t.Errorf("%s: got %v, %v", each.name, got, err)
		}
	}
}

func TestASliceWithoutThePortIsOfPodsWithoutIt(t *testing.T) {
	before := sliceOf("rng-1", 8080, pod("a", "10.0.0.1"))
	*before.Ports[0].Name = "http"
	wantMerged(t, grpcView(), []string{"10.0.0.2:8081"}, before, sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	empty := sliceOf("rng-3", 8080) // as for a Service that never had an endpoint
	empty.Ports = nil
	wantMerged(t, &view{}, []string{"10.0.0.2:8081"}, empty, sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	wantMerged(t, &view{}, []string{}, empty)
}

func TestTheZoneIsPreferredAsLongAsEnoughIsReadyThere(t *testing.T) {
	prefer := func(minimum int) *view {
		return &view{target: Target{Port: "grpc", PreferZone: true, ZoneMinimum: minimum}, zone: "a"}
	}
	near, far := "10.0.0.1:8081", "10.0.0.2:8081"
	placed := sliceOf("rng-1", 8081, pod("a", "10.0.0.1", zone("a")), pod("b", "10.0.0.2", zone("b")))
	wantMerged(t, prefer(1), []string{near}, placed)
	wantMerged(t, prefer(2), []string{near, far}, placed)
	wantMerged(t, grpcView(), []string{near, far}, placed)
	wantMerged(t, prefer(1), []string{far}, sliceOf("rng-1", 8081, pod("a", "10.0.0.1", zone("a"), unready), pod("b", "10.0.0.2", zone("b"))))
	// Hints go before places, if all have them.
	wantMerged(t, prefer(1), []string{far}, sliceOf("rng-1", 8081,
		pod("a", "10.0.0.1", zone("a"), hint("b")), pod("b", "10.0.0.2", zone("b"), hint("a", "c"))))
	wantMerged(t, prefer(1), []string{near}, sliceOf("rng-1", 8081,
		pod("a", "10.0.0.1", zone("a")), pod("b", "10.0.0.2", zone("b"), hint("a"))))
	// Both families of a pod count as one.
	wantMerged(t, prefer(2), []string{"10.0.0.1:8081+[fd00::1]:8081", far}, placed, sliceOf("rng-6", 8081, pod("a", "fd00::1", zone("a"))))
	// What is going away is no reason to stay.
	wantMerged(t, prefer(1), []string{near, far}, sliceOf("rng-1", 8081,
		pod("a", "10.0.0.1", zone("a"), leaving), pod("b", "10.0.0.2", zone("b"), leaving)))
}

func TestEndpointsSayWhereTheyAre(t *testing.T) {
	endpoints, err := grpcView().build([]*slice{readSlice(sliceOf("rng-1", 8081, pod("a", "10.0.0.1", zone("b"))))})
	if err != nil || len(endpoints) != 1 {
		t.Fatal(endpoints, err)
	}
	if got, ok := InfoOf(endpoints[0]); !ok || got != (Info{Pod: "a", Node: "node-1", Zone: "b"}) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if endpoints[0].Addresses[0] != (resolver.Address{Addr: "10.0.0.1:8081"}) {
		t.Error("an address has attributes: their change would break its connection")
	}
	again, _ := grpcView().build([]*slice{readSlice(sliceOf("rng-1", 8081, pod("a", "10.0.0.1", zone("b"))))})
	if !endpoints[0].Attributes.Equal(again[0].Attributes) {
		t.Error("equal attributes differ")
	}
}

func TestAddressesOfNoUseAreLeftOut(t *testing.T) {
	name := pod("a", "10.0.0.1")
	name.Addresses = []string{"rng.example.com"}
	none := pod("b", "10.0.0.2")
	none.Addresses = nil
	several := pod("c", "10.0.0.3")
	several.Addresses = append(several.Addresses, "10.0.0.4") // to which the API gives no meaning
	wantMerged(t, grpcView(), []string{"10.0.0.3:8081"}, sliceOf("rng-1", 8081, name, none, several))
	fqdn := sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))
	fqdn.AddressType = discoveryv1.AddressTypeFQDN
	wantMerged(t, grpcView(), []string{}, fqdn)
}
