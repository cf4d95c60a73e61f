// Package keys draws the keys that RPCs carry, such as the user that each is
// for. A strategy that keeps a key on one pod, such as hashing by a header, shows
// what it does only when RPCs have keys.
//
// A key is metadata of its RPC (a header), the same for all its attempts. The
// package knows nothing of who reads it. The draws are the same in every run, so
// that runs, and clients beside each other, can be compared.
package keys

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// How keys are distributed over RPCs.
const (
	None    = "none"
	Uniform = "uniform"
	Zipf    = "zipf"
)

// Config says which keys there are and how often each is drawn.
type Config struct {
	Keys      string  `default:"none" enum:"none,uniform,zipf" help:"Give each RPC a key, drawn so: ${enum}. Zipf's law makes some keys far more frequent than others, as users are."`
	KeyCount  int     `default:"1000" help:"With --keys: how many keys there are, 1 to 100000."`
	KeySkew   float64 `default:"1.1" help:"With --keys=zipf: the exponent s, 1.01 to 10. Key number k, from 1, is drawn in proportion to 1/k^s."`
	KeyHeader string  `default:"x-user-id" help:"With --keys: the header that carries the key; a gRPC metadata key."`
}

const (
	// maxCount keeps what is made for each key, some 500 bytes, within 50 MB.
	maxCount = 100_000
	// math/rand's Zipf needs an exponent above 1 and loses its precision close to it.
	minSkew, maxSkew = 1.01, 10
)

// Validate names the first flag that cannot be used. kong calls it.
func (c Config) Validate() error {
	if err := config.InRange("key-count", c.KeyCount, 1, maxCount); err != nil {
		return err
	}
	if err := config.InRange("key-skew", c.KeySkew, minSkew, maxSkew); err != nil {
		return err
	}
	if why := unusable(c.KeyHeader); why != "" {
		return fmt.Errorf("--key-header: %q %s: give a gRPC metadata key such as x-user-id", c.KeyHeader, why)
	}

	return nil
}

// reserved are the headers that are not the caller's: those that gRPC sets or drops
// (PROTOCOL-HTTP2.md), those that HTTP/2 forbids or means something by (RFC 9113,
// 8.2.2 and 8.3.1), and those that tracing writes over (W3C Trace Context and Baggage).
var reserved = []string{
	"content-type", "te", "user-agent",
	"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
	"baggage", "traceparent", "tracestate",
}

// unusable says why a header cannot carry a key; "" if it can.
func unusable(header string) string {
	const accepted = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	switch {
	case header == "":
		return "is empty"
	case strings.ContainsFunc(header, func(r rune) bool { return !strings.ContainsRune(accepted, r) }):
		return "has characters other than a to z, 0 to 9, -, _ and ."
	case strings.HasSuffix(header, "-bin"):
		return "is for binary values"
	case strings.HasPrefix(header, "grpc-") || slices.Contains(reserved, header):
		return "is reserved"
	default:
		return ""
	}
}

// Set is the keys, and what an RPC carries of each. A nil Set is no keys.
type Set struct {
	config Config
	// metadata are made once for each key. gRPC copies what it changes.
	metadata []metadata.MD
}

// NewSet makes the keys of a valid Config; nil if there are none.
func NewSet(c Config) *Set {
	if c.Keys != Uniform && c.Keys != Zipf {
		return nil
	}
	s := &Set{config: c, metadata: make([]metadata.MD, c.KeyCount)}
	for i := range s.metadata {
		s.metadata[i] = metadata.MD{c.KeyHeader: {Name(i)}}
	}

	return s
}

// Name is the key number i, such as "user-000123".
func Name(i int) string { return fmt.Sprintf("user-%06d", i) }

// Settings says which keys there are, for the report; nil if there are none.
func (s *Set) Settings() *loadreport.Keys {
	if s == nil {
		return nil
	}
	settings := &loadreport.Keys{Distribution: s.config.Keys, Count: s.config.KeyCount, Header: s.config.KeyHeader}
	if s.config.Keys == Zipf {
		settings.Skew = s.config.KeySkew
	}

	return settings
}

// String says which keys there are, for the log.
func (s *Set) String() string {
	if s == nil {
		return None
	}

	return s.Settings().String()
}

// Attach gives an RPC's context the key number i.
func (s *Set) Attach(ctx context.Context, i int) context.Context {
	return metadata.NewOutgoingContext(ctx, s.metadata[i])
}

// Draws is an endless sequence of keys. It is for one goroutine.
type Draws struct {
	next func() int
}

// seed makes every run draw the same.
const seed = 26

// Draws returns the sequence number n, the same in every run; nil if there are no keys.
func (s *Set) Draws(n int) *Draws {
	if s == nil {
		return nil
	}
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	if s.config.Keys == Uniform {
		return &Draws{func() int { return random.IntN(s.config.KeyCount) }}
	}
	zipf := rand.NewZipf(random, s.config.KeySkew, 1, uint64(s.config.KeyCount-1))

	return &Draws{func() int { return int(zipf.Uint64()) }}
}

// NoKey is what a nil Draws gives.
const NoKey = -1

// Next is the number of the next key.
func (d *Draws) Next() int {
	if d == nil {
		return NoKey
	}

	return d.next()
}
