package consistenthash

import (
	"context"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/metadata"
)

type keyOfContext struct{}

// WithKey returns a context whose RPCs are hashed by key when they go through a
// channel with the consistent_hash policy. It wins over the request header
// named by requestHashHeader, is not sent to the server, and costs the pick no
// allocation. An empty key is no key: the header counts again, and after it
// missingKey.
func WithKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return context.WithValue(ctx, keyOfContext{}, nil)
	}
	// Hashed here, once, and not again for each attempt of the RPC.
	return context.WithValue(ctx, keyOfContext{}, xxhash.Sum64String(key))
}

// requestHash is the place of an RPC's key on the ring; false: it has no key.
// Several values of the header count as one, joined with commas, and an empty
// one as none (gRFC A76).
func requestHash(ctx context.Context, header string) (uint64, bool) {
	if hash, ok := ctx.Value(keyOfContext{}).(uint64); ok {
		return hash, true
	}
	if header == "" {
		return 0, false
	}
	switch values := metadata.ValueFromOutgoingContext(ctx, header); len(values) {
	case 0:
		return 0, false
	case 1:
		return xxhash.Sum64String(values[0]), values[0] != ""
	default:
		return xxhash.Sum64String(strings.Join(values, ",")), true
	}
}
