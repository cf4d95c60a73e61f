package consistenthash

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// place is what an endpoint's points on the ring depend on.
type place struct {
	*endpoint
	hashKey string
	weight  uint32 // at least 1
}

// point is one of the places where an endpoint stands on the ring.
type point struct {
	hash  uint64
	owner uint32 // index in ring.places
}

// ring holds the points of all endpoints in the order of their hashes. It is
// never changed once made.
type ring struct {
	places       []place // in the order of their hash keys
	virtualNodes int
	points       []point

	// starts[h>>shift] is the first point whose hash has these leading bits, or
	// would come after them. There are at least as many starts as points, and
	// hashes are spread evenly, so a search looks at one or two points.
	starts []uint32
	shift  int
}

// newRing gives each place virtualNodes points if its weight is the mean of all
// weights, and else in proportion: 1000 equal weights make the same ring as no
// weights. A point's hash is that of the hash key, "_" and the point's number, as
// in gRPC's ring_hash and in Envoy. places must not be empty; it is sorted here,
// so that its order makes no difference.
func newRing(places []place, virtualNodes int) *ring {
	slices.SortFunc(places, comparePlaces)
	counts, total := pointCounts(places, virtualNodes)

	unsorted := make([]point, 0, total)
	var text []byte
	for owner, p := range places {
		text = append(append(text[:0], p.hashKey...), '_')
		stem := len(text)
		for i := range counts[owner] {
			text = strconv.AppendInt(text[:stem], int64(i), 10)
			unsorted = append(unsorted, point{hash: xxhash.Sum64(text), owner: uint32(owner)})
		}
	}

	r := &ring{places: places, virtualNodes: virtualNodes}
	r.sort(unsorted)
	return r
}

// comparePlaces orders places in the same way for every client. Two endpoints
// with one hash key have the same points; the first of them owns these.
func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.hashKey, b.hashKey), cmp.Compare(a.identity, b.identity))
}

func pointCounts(places []place, virtualNodes int) (counts []int, total int) {
	var sum float64
	for _, p := range places {
		sum += float64(p.weight)
	}
	mean := sum / float64(len(places))
	counts = make([]int, len(places))
	for i, p := range places {
		counts[i] = max(1, int(math.Round(float64(virtualNodes)*float64(p.weight)/mean)))
		total += counts[i]
	}
	return counts, total
}

// sort puts the points in order by counting those with the same leading bits.
// What it counted is the index for the search, and of the handful left in each
// bucket an insertion sort makes short work: linear in all, where comparing
// sorts take several times as long. Points with the same hash stay in the order
// of their owners.
func (r *ring) sort(unsorted []point) {
	width := bits.Len(uint(len(unsorted) - 1))
	r.shift = 64 - width
	r.starts = make([]uint32, 1<<width+1)
	for _, p := range unsorted {
		r.starts[p.hash>>r.shift+1]++
	}
	for i := 1; i < len(r.starts); i++ {
		r.starts[i] += r.starts[i-1]
	}
	next := slices.Clone(r.starts)
	r.points = make([]point, len(unsorted))
	for _, p := range unsorted {
		bucket := p.hash >> r.shift
		r.points[next[bucket]] = p
		next[bucket]++
	}
	for i := 1; i < len(r.points); i++ {
		for j := i; j > 0 && r.points[j].hash < r.points[j-1].hash; j-- {
			r.points[j], r.points[j-1] = r.points[j-1], r.points[j]
		}
	}
}

// find returns the first point at or after the hash, going round.
func (r *ring) find(hash uint64) int {
	at := int(r.starts[hash>>r.shift])
	for at < len(r.points) && r.points[at].hash < hash {
		at++
	}
	return r.wrap(at)
}

// wrap takes the position after the last to the first.
func (r *ring) wrap(at int) int {
	if at == len(r.points) {
		return 0
	}
	return at
}

// madeFrom says whether newRing would make this very ring. The places need not
// be sorted yet.
func (r *ring) madeFrom(places []place, virtualNodes int) bool {
	if r == nil || r.virtualNodes != virtualNodes {
		return false
	}
	slices.SortFunc(places, comparePlaces)
	return slices.Equal(r.places, places)
}
