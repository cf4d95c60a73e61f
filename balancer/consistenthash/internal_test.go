package consistenthash

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/connectivity"
)

// The bound of the paper, in numbers of any size.
func boundOf(b bound, m int64) *big.Int {
	room := new(big.Int).Mul(big.NewInt(m), new(big.Int).SetUint64(b.share))
	whole := new(big.Int).SetUint64(b.whole)
	return new(big.Int).Div(room.Add(room, whole).Sub(room, big.NewInt(1)), whole) // the ceiling
}

func TestTheBoundIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		factor := loadFactorUnit + 1 + random.Uint64N(maxLoadFactor*loadFactorUnit-loadFactorUnit)
		weight := 1 + random.Uint64N(math.MaxUint32)>>random.UintN(32)
		sum := weight + random.Uint64N(1<<44)>>random.UintN(44)
		b := bound{share: factor * weight, whole: loadFactorUnit * sum}
		m := 1 + random.Int64N(1<<30)>>random.UintN(30)
		most := boundOf(b, m)
		if !most.IsInt64() {
			t.Fatalf("bound of %+v with %d: %v", b, m, most)
		}
		// The last that fits, the first that does not, and any.
		for _, load := range []int64{most.Int64() - 1, most.Int64(), random.Int64N(m)} {
			if got, want := b.allows(load, m), load+1 <= most.Int64(); got != want {
				t.Fatalf("%+v allows one more than %d with %d in flight: %t, but at most %v", b, load, m, got, most)
			}
		}
	}
}

// As floats, 1.1 times 10 is more than 11.
func TestAWholeProductIsNotRoundedUp(t *testing.T) {
	c, err := parseConfig([]byte(`{"loadFactor": 1.1}`))
	if err != nil {
		t.Fatal(err)
	}
	b := bound{share: c.loadFactor, whole: 20 * loadFactorUnit}
	if !b.allows(10, 200) || b.allows(11, 200) {
		t.Errorf("with 200 in flight on 20 endpoints and factor 1.1: may take an 11th: %t, a 12th: %t; want true, false",
			b.allows(10, 200), b.allows(11, 200))
	}
}

func TestTheSearchFindsTheFirstPointAtOrAfterAHash(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{1, 2, 3, 10, 129} {
		for _, virtualNodes := range []int{1, 2, 7, 256} {
			places := make([]place, n)
			for i := range places {
				name := string(rune('a' + i))
				places[i] = place{endpoint: newEndpoint(name, new(tally)), hashKey: name, weight: 1 + random.Uint32N(3)}
			}
			r := newRing(places, virtualNodes)
			if !slices.IsSortedFunc(r.points, func(a, b point) int {
				if a.hash < b.hash {
					return -1
				}
				return 1
			}) {
				t.Fatalf("%d places of %d points: not in order", n, virtualNodes)
			}
			hashes := []uint64{0, 1, math.MaxUint64, r.points[0].hash, r.points[len(r.points)-1].hash}
			for range 1000 {
				hashes = append(hashes, random.Uint64(), r.points[random.IntN(len(r.points))].hash+random.Uint64N(3)-1)
			}
			for _, hash := range hashes {
				want := slices.IndexFunc(r.points, func(p point) bool { return p.hash >= hash })
				if got := r.find(hash); got != max(0, want) {
					t.Fatalf("%d places of %d points: find(%x) is %d: want %d", n, virtualNodes, hash, got, want)
				}
			}
		}
	}
}

func TestEveryEndpointHasAPlaceHoweverSmallItsWeight(t *testing.T) {
	places := []place{
		{endpoint: newEndpoint("a", new(tally)), hashKey: "a", weight: math.MaxUint32},
		{endpoint: newEndpoint("b", new(tally)), hashKey: "b", weight: 1},
	}
	r := newRing(places, 256)
	if !slices.ContainsFunc(r.points, func(p point) bool { return p.owner == 1 }) {
		t.Error("the light endpoint has no point on the ring")
	}
}

// The tally counts what is in flight on endpoints that joined, whatever comes
// and goes at the same time.
func TestTheTallyAgreesWithTheLoadsAfterAnyRace(t *testing.T) {
	var total tally
	endpoints := []*endpoint{newEndpoint("a", &total), newEndpoint("b", &total), newEndpoint("c", &total)}
	always := bound{least: math.MaxInt64}
	var wg sync.WaitGroup
	kept := make([][]*endpoint, 4)
	for worker := range kept {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 5000 {
				e := endpoints[random.IntN(len(endpoints))]
				switch random.IntN(6) {
				case 0:
					e.join()
				case 1:
					e.leave()
				case 2:
					if n := len(kept[worker]); n > 0 {
						kept[worker][n-1].done(balancer.DoneInfo{})
						kept[worker] = kept[worker][:n-1]
					}
				default:
					total.total.Add(1)
					if e.admit(1, always) == admitted {
						kept[worker] = append(kept[worker], e)
					} else {
						total.total.Add(-1)
					}
				}
			}
		})
	}
	wg.Wait()
	var joined int64
	for _, e := range endpoints {
		if e.load.Load()&leftOut == 0 {
			joined += e.inFlight()
		}
	}
	if got := total.total.Load(); got != joined {
		t.Errorf("the tally is %d: want %d, what the joined endpoints hold", got, joined)
	}
	for _, mine := range kept {
		for _, e := range mine {
			e.done(balancer.DoneInfo{})
		}
	}
	for _, e := range endpoints {
		e.leave()
		if e.inFlight() != 0 {
			t.Errorf("endpoint %s holds %d after all have ended", e.identity, e.inFlight())
		}
	}
	if got := total.total.Load(); got != 0 {
		t.Errorf("the tally is %d after all have ended and left", got)
	}
}

// A picker that is still asked while its successor is being made must neither
// search forever nor go above the bound.
func TestAnOldPickerLeavesTheChoiceToItsSuccessor(t *testing.T) {
	var total tally
	p, members := readyPicker(&total, 3, base.NewErrPicker(nil))
	for _, m := range members {
		m.leave()
	}
	_, err := p.place(balancer.PickInfo{}, 0, byOwner)
	if err != balancer.ErrNoSubConnAvailable {
		t.Errorf("place: %v: want ErrNoSubConnAvailable", err)
	}
	if got := total.total.Load(); got != 0 {
		t.Errorf("the tally is %d: want 0", got)
	}
}

func readyPicker(total *tally, n int, child balancer.Picker) (*picker, []member) {
	places := make([]place, n)
	members := make([]member, n)
	for i := range places {
		name := string(rune('a' + i))
		places[i] = place{endpoint: newEndpoint(name, total), hashKey: name, weight: 1}
		members[i] = member{endpoint: places[i].endpoint, child: child, state: connectivity.Ready}
		members[i].join()
	}
	c, _ := parseConfig([]byte(`{}`))
	return newPicker(newRing(places, 16), members, c, total), members
}

type pickFunc func(balancer.PickInfo) (balancer.PickResult, error)

func (f pickFunc) Pick(info balancer.PickInfo) (balancer.PickResult, error) { return f(info) }

func TestAChildsOwnEndOfAPickIsCalledToo(t *testing.T) {
	var total tally
	ended := 0
	p, _ := readyPicker(&total, 1, pickFunc(func(balancer.PickInfo) (balancer.PickResult, error) {
		return balancer.PickResult{Done: func(balancer.DoneInfo) { ended++ }}, nil
	}))
	result, err := p.place(balancer.PickInfo{}, 0, byOwner)
	if err != nil {
		t.Fatal(err)
	}
	result.Done(balancer.DoneInfo{})
	if got := total.total.Load(); ended != 1 || got != 0 {
		t.Errorf("the child heard of %d ends and %d are in flight: want 1 and 0", ended, got)
	}
}

func TestAChildThatFailsToPickHoldsNothing(t *testing.T) {
	var total tally
	p, members := readyPicker(&total, 1, base.NewErrPicker(balancer.ErrNoSubConnAvailable))
	if _, err := p.place(balancer.PickInfo{}, 0, byOwner); err == nil {
		t.Error("the pick succeeded")
	}
	if load, all := members[0].inFlight(), total.total.Load(); load != 0 || all != 0 {
		t.Errorf("%d are in flight on the endpoint, %d in all: want 0", load, all)
	}
}
