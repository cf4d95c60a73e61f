package endpointslice

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// FuzzSlices reads whatever objects an API server may send, and holds the merged state to what is promised of it.
func FuzzSlices(f *testing.F) {
	for _, seed := range [][]*discoveryv1.EndpointSlice{
		{sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2", leaving)), sliceOf("rng-2", 8081, pod("a", "fd00::1", hint("a")))},
		{sliceOf("rng-1", 8081)},
		{{Endpoints: []discoveryv1.Endpoint{{}}, Ports: []discoveryv1.EndpointPort{{}}}},
	} {
		encoded, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded, "grpc", 1)
		f.Add(encoded, "", 2)
		f.Add(encoded, "8081", 0)
	}
	f.Fuzz(func(t *testing.T, encoded []byte, port string, minimum int) {
		var objects []*discoveryv1.EndpointSlice
		if json.Unmarshal(encoded, &objects) != nil {
			return
		}
		s := newStore(patienceStart)
		v := &view{target: Target{Port: port, PreferZone: minimum > 0, ZoneMinimum: minimum}, zone: "a"}
		for _, object := range objects {
			if object == nil {
				continue
			}
			if err := s.Add(object); err != nil {
				t.Fatal(err)
			}
			checkState(t, v, s)
		}
		for _, object := range objects {
			if object != nil {
				if err := s.Delete(object); err != nil {
					t.Fatal(err)
				}
			}
		}
		if endpoints, err := v.build(s.current().slices); len(endpoints) > 0 || err != nil {
			t.Errorf("left of nothing: %v, %v", endpoints, err)
		}
	})
}

func checkState(t *testing.T, v *view, s *store) {
	t.Helper()
	countConditions(s.current().slices)
	endpoints, err := v.build(s.current().slices)
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, e := range endpoints {
		if len(e.Addresses) == 0 {
			t.Fatal("an endpoint without addresses")
		}
		for _, a := range e.Addresses {
			if seen[a.Addr] {
				t.Errorf("%s stands twice", a.Addr)
			}
			seen[a.Addr] = true
			if _, err := netip.ParseAddrPort(a.Addr); err != nil {
				t.Error(err)
			}
		}
	}
	fresh := &view{target: v.target, zone: v.zone}
	if again, err := fresh.build(s.current().slices); err != nil || !equal(endpoints, again) {
		t.Errorf("what was kept of earlier slices matters: %v, %v", texts(endpoints), texts(again))
	}
}

// FuzzChanges puts and deletes slices in any order, with few pods and addresses so that they meet, and works out in the
// plainest way which addresses must be published.
func FuzzChanges(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte("each three bytes are an endpoint, and each fourth one its slice"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newStore(patienceStart)
		v := grpcView()
		now := map[string]*discoveryv1.EndpointSlice{}
		for chunk := range slices.Chunk(script, 4) {
			chunk = append(slices.Clone(chunk), 0, 0, 0)[:4]
			name := fmt.Sprintf("rng-%d", chunk[0]%4)
			if chunk[0] >= 192 && now[name] != nil {
				if err := s.Delete(now[name]); err != nil {
					t.Fatal(err)
				}
				delete(now, name)
			} else {
				next := sliceOf(name, 8081+int32(chunk[0]>>4%2))
				if old := now[name]; old != nil && chunk[0] < 128 {
					next.Endpoints = slices.Clone(old.Endpoints)
				}
				address := fmt.Sprintf("10.0.0.%d", chunk[1]%8)
				if chunk[1] >= 128 {
					address = fmt.Sprintf("fd00::%d", chunk[1]%8)
				}
				condition := []option{func(*discoveryv1.Endpoint) {}, unready, leaving, left}[chunk[3]%4]
				next.Endpoints = append(next.Endpoints, pod(fmt.Sprint(chunk[2]%8), address, condition))
				if err := s.Update(next); err != nil {
					t.Fatal(err)
				}
				now[name] = next
			}
			want := map[string]condition{}
			best := notReady
			for _, each := range now {
				for _, e := range each.Endpoints {
					at := netip.AddrPortFrom(netip.MustParseAddr(e.Addresses[0]), uint16(*each.Ports[0].Port)).String()
					want[at] = max(want[at], conditionOf(e.Conditions))
					best = max(best, want[at])
				}
			}
			endpoints, err := v.build(s.current().slices)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, e := range endpoints {
				for _, a := range e.Addresses {
					got[a.Addr] = true
				}
			}
			for at, c := range want {
				if usable := c == best && c >= servingTerminating; usable != got[at] {
					t.Fatalf("%s is %v, the best is %v, and published: %v", at, c, best, got[at])
				}
			}
			checkState(t, v, s)
		}
	})
}
