package load

import (
	"math"

	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/services/client/keys"
)

// tally counts what a shard saw of a frame.
type tally struct {
	rpcs, notSent int64
	// failed has the final codes other than OK.
	failed     map[codes.Code]int64
	firstError string
	// latencies are those of RPCs that succeeded, in microseconds. A list is
	// smaller than a histogram until a frame has thousands.
	latencies []uint32
	servers   map[server]*serverTally
}

// serverTally counts what one server did in a frame.
type serverTally struct {
	rpcs, attempts, failedAttempts, transparentRetries int64
	first, last                                        int64
	// keys counts the rpcs by the key that they carried; nil without keys.
	keys map[int]int64
}

// maxErrorText bounds the text of an error that is kept as an example, in bytes.
const maxErrorText = 500

func newTally() tally {
	return tally{failed: map[codes.Code]int64{}, servers: map[server]*serverTally{}}
}

// reset makes the tally empty again. It keeps the memory, but not that of a frame
// far larger than those after it.
func (t *tally) reset() {
	latencies := t.latencies[:0]
	if cap(latencies) > 4*len(t.latencies)+1024 {
		latencies = nil
	}
	clear(t.failed)
	clear(t.servers)
	*t = tally{failed: t.failed, servers: t.servers, latencies: latencies}
}

// addRPC counts an RPC with its final status and its latency in nanoseconds.
func (t *tally) addRPC(code codes.Code, latency int64, err error) {
	t.rpcs++
	if code == codes.OK {
		t.latencies = append(t.latencies, uint32(min(latency/1000, math.MaxUint32)))

		return
	}
	t.failed[code]++
	if t.firstError == "" {
		text := err.Error()
		t.firstError = text[:min(len(text), maxErrorText)]
	}
}

// addAttempt counts an attempt, and that it saw the RPC, with its key,
// through if it did.
func (t *tally) addAttempt(a *attempt, succeeded bool, key int) {
	s, ok := t.servers[a.server]
	if !ok {
		s = &serverTally{first: a.at, last: a.at}
		t.servers[a.server] = s
	}
	s.attempts++
	s.first, s.last = min(s.first, a.at), max(s.last, a.at)
	if succeeded {
		s.rpcs++
		s.addKey(key)
	}
	if a.failed {
		s.failedAttempts++
	}
	if a.transparent {
		s.transparentRetries++
	}
}

func (s *serverTally) addKey(key int) {
	if key == keys.NoKey {
		return
	}
	if s.keys == nil {
		s.keys = map[int]int64{}
	}
	s.keys[key]++
}
