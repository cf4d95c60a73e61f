package clusterip

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestWhereTheConnectionsOfAPortMayGo(t *testing.T) {
	yes, no := true, false
	unknown := discoveryv1.EndpointConditions{}
	terminating := discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
	unready := discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &no}
	for name, test := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		"no slices": {nil, nil},
		"the port of that name": {
			[]*discoveryv1.EndpointSlice{slice("rng", []port{{"http-admin", 8080, "TCP"}, {"grpc", 8081, "TCP"}}, at("127.1.0.1", unknown))},
			[]string{"127.1.0.1:8081"},
		},
		"no port of that name": {
			[]*discoveryv1.EndpointSlice{slice("rng", []port{{"http-admin", 8080, "TCP"}}, at("127.1.0.1", unknown))}, nil,
		},
		"the name for another protocol": {
			[]*discoveryv1.EndpointSlice{slice("rng", []port{{"grpc", 8081, "UDP"}}, at("127.1.0.1", unknown))}, nil,
		},
		"another Service's slice": {
			[]*discoveryv1.EndpointSlice{slice("geoip", grpc(8081), at("127.1.0.1", unknown))}, nil,
		},
		"an endpoint in two slices": {
			[]*discoveryv1.EndpointSlice{
				slice("rng", grpc(8081), at("127.1.0.1", unknown), at("127.1.0.2", unknown)),
				slice("rng", grpc(8081), at("127.1.0.2", unknown), at("127.1.0.3", unknown)),
			},
			[]string{"127.1.0.1:8081", "127.1.0.2:8081", "127.1.0.3:8081"},
		},
		"slices with ports of their own": {
			[]*discoveryv1.EndpointSlice{slice("rng", grpc(8081), at("127.1.0.1", unknown)), slice("rng", grpc(9081), at("127.1.0.2", unknown))},
			[]string{"127.1.0.1:8081", "127.1.0.2:9081"},
		},
		"one ready among others": {
			[]*discoveryv1.EndpointSlice{slice("rng", grpc(8081), at("127.1.0.1", terminating), at("127.1.0.2", unready), at("127.1.0.3", unknown))},
			[]string{"127.1.0.3:8081"},
		},
		"none ready": {
			[]*discoveryv1.EndpointSlice{slice("rng", grpc(8081), at("127.1.0.1", terminating), at("127.1.0.2", unready))},
			[]string{"127.1.0.1:8081"},
		},
		"none that serves": {
			[]*discoveryv1.EndpointSlice{slice("rng", grpc(8081), at("127.1.0.2", unready))}, nil,
		},
		"an endpoint without an address": {
			[]*discoveryv1.EndpointSlice{slice("rng", grpc(8081), discoveryv1.Endpoint{}, at("rng-0.example", unknown))}, nil,
		},
	} {
		store := apiserver.NewStore()
		objects := []apiserver.Object{&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng"},
			Spec:       corev1.ServiceSpec{ClusterIP: "127.93.0.1", Ports: []corev1.ServicePort{{Name: "grpc", Port: 81}}},
		}}
		for i, slice := range test.slices {
			slice.Name = fmt.Sprint("slice-", i)
			objects = append(objects, slice)
		}
		for _, object := range objects {
			if err := store.Put(object); err != nil {
				t.Fatal(err)
			}
		}
		found, err := virtualIPs(store)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, endpoint := range found[netip.MustParseAddrPort("127.93.0.1:81")].endpoints {
			got = append(got, endpoint.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" || len(found) != 1 {
			t.Errorf("%s: %d ports (-want +got):\n%s", name, len(found), diff)
		}
	}
}

func TestIPv6EndpointsAreNotForAnIPv4Address(t *testing.T) {
	v6 := slice("rng", grpc(8081), at("fd00::1", discoveryv1.EndpointConditions{}))
	v6.Name, v6.AddressType = "v6", discoveryv1.AddressTypeIPv6
	store := apiserver.NewStore()
	if err := store.Put(v6); err != nil {
		t.Fatal(err)
	}
	if got := slicesOf(store, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng"}}); len(got) != 0 {
		t.Errorf("got %v, want no slice", got)
	}
}

func TestTheOnlyPortOfAServiceNeedsNoName(t *testing.T) {
	number := int32(8081)
	unnamed := &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Port: &number}}}
	if got, found := portOf(unnamed, ""); !found || got != 8081 {
		t.Errorf("got port %d, %t, want 8081", got, found)
	}
	if got, found := portOf(unnamed, "grpc"); found {
		t.Errorf("got port %d for a name that it does not have", got)
	}
}

type port struct {
	name     string
	number   int32
	protocol corev1.Protocol
}

func grpc(number int32) []port { return []port{{"grpc", number, corev1.ProtocolTCP}} }

func at(address string, conditions discoveryv1.EndpointConditions) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: conditions}
}

func slice(service string, ports []port, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
	}
	for _, p := range ports {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &p.name, Port: &p.number, Protocol: &p.protocol})
	}
	return s
}
