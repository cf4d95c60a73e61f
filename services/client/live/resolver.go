package live

import (
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
)

// DialOption has the channel of a service tell the hub what its name resolution finds. The
// target's own resolver does the work; everything it says is passed on as it is. gRPC has no other
// place to learn this: the subchannels of pick_first, for one, are not the endpoints.
func (w *Watched) DialOption() grpc.DialOption {
	builder := w.builder()
	watching := &watchingBuilder{builder, w}
	if overrider, ok := builder.(resolver.AuthorityOverrider); ok {
		return grpc.WithResolvers(struct {
			*watchingBuilder
			resolver.AuthorityOverrider
		}{watching, overrider})
	}

	return grpc.WithResolvers(watching)
}

// builder is the target's, found as grpc.NewClient does.
func (w *Watched) builder() resolver.Builder {
	scheme, _, _ := strings.Cut(w.target, ":")
	if builder := resolver.Get(strings.ToLower(scheme)); builder != nil {
		return builder
	}

	return resolver.Get("dns")
}

type watchingBuilder struct {
	resolver.Builder

	watched *Watched
}

// Build builds the target's own resolver.
func (b *watchingBuilder) Build(t resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	return b.Builder.Build(t, &watchedConn{cc, b.watched}, o)
}

// resolving is the kind of an error that is not an RPC's.
const resolving = "name resolution"

// watchedConn is the channel, as its resolver sees it.
type watchedConn struct {
	resolver.ClientConn

	watched *Watched
}

func (c *watchedConn) UpdateState(state resolver.State) error {
	c.watched.hub.locked(func() { c.watched.resolve(&state) })

	return c.ClientConn.UpdateState(state)
}

func (c *watchedConn) ReportError(err error) {
	c.watched.hub.locked(func() {
		c.watched.fault(resolving, err.Error(), 1, time.Now(), c.watched.hub.version)
	})
	c.ClientConn.ReportError(err)
}

// short bounds a text that others wrote.
func short(text string) string {
	const limit = 300
	if len(text) > limit {
		text = text[:limit] + "…"
	}

	return strings.ToValidUTF8(text, "")
}
