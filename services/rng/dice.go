package main

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// dice hands each call a random source of its own, so that calls share nothing
// but a counter.
//
// The source of the n-th call follows from the seed and n alone. With the same
// seed, a single client that makes one call after another therefore sees the same
// values in every run of the server. Concurrent calls draw from the same
// sources, but which call gets which depends on the order in which they arrive.
type dice struct {
	seed  uint64
	calls atomic.Uint64
	// idle keeps sources between calls. What it holds is seeded anew for each
	// call, so that the pool saves memory and decides nothing.
	idle sync.Pool
}

// source draws numbers. It is not safe for concurrent use.
type source struct {
	*rand.Rand

	pcg *rand.PCG
}

// newDice makes dice with a seed, or with a random one for 0.
func newDice(seed uint64) *dice {
	for seed == 0 {
		seed = rand.Uint64()
	}

	return &dice{
		seed: seed,
		idle: sync.Pool{New: func() any {
			pcg := rand.NewPCG(0, 0)

			return &source{Rand: rand.New(pcg), pcg: pcg}
		}},
	}
}

// take returns the source of the next call. It is given back with release.
func (d *dice) take() *source {
	s, _ := d.idle.Get().(*source) // the pool holds nothing else
	// Two outputs of SplitMix64 (Steele, Lea, Flood 2014), whose sequence the seed
	// begins: neighbouring calls get states that have nothing in common, which
	// PCG by itself does not promise for neighbouring seeds.
	state := d.seed + 2*d.calls.Add(1)*golden
	s.pcg.Seed(mix(state), mix(state+golden))

	return s
}

func (d *dice) release(s *source) { d.idle.Put(s) }

// between draws from [lo, hi], both inclusive, every value equally likely. The
// width is computed in uint64, where it cannot overflow.
func (s *source) between(lo, hi int64) int64 {
	width := uint64(hi) - uint64(lo)
	if width == 1<<64-1 {
		return int64(s.Uint64())
	}

	return int64(uint64(lo) + s.Uint64N(width+1))
}

// golden is 2^64 divided by the golden ratio: SplitMix64's step.
const golden = 0x9e3779b97f4a7c15

// mix is SplitMix64's output function (Stafford's variant 13).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb

	return z ^ z>>31
}
