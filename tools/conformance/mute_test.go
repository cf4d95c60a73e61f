package conformance_test

import (
	"testing"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

// mute is a resolver that never says anything.
type mute struct{}

func (mute) Build(resolver.Target, resolver.ClientConn, resolver.BuildOptions) (resolver.Resolver, error) {
	return mute{}, nil
}
func (mute) Scheme() string                        { return "mute" }
func (mute) ResolveNow(resolver.ResolveNowOptions) {}
func (mute) Close()                                {}

// A behaviour that this one had would be none.
func TestAResolverThatSaysNothingHasNoBehaviour(t *testing.T) {
	t.Parallel()
	r := conformance.Resolver{
		Name: "mute", Scheme: "mute", Reads: "endpointslices", Zones: "?zone=prefer",
		NewBuilder: func(*rest.Config, conformance.Settings) (resolver.Builder, error) { return mute{}, nil },
	}
	for _, b := range conformance.Behaviours() {
		if b.Sockets {
			continue // these wait for an answer in real time
		}
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			if result := run(t, b, r); result.Passed || result.NotApplicable {
				t.Error("it passes")
			}
		})
	}
}
