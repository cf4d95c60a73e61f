package consistenthash_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
)

func withKey(key string) context.Context {
	return consistenthash.WithKey(context.Background(), key)
}

func withHeaders(ctx context.Context, pairs ...string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...))
}

func TestTheKeyOfAnRPC(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpointsAt(addresses(200)...)...)
	ctx := context.Background()
	for name, tc := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"is the header's value":                 {withHeaders(ctx, header, "alice"), "alice"},
		"is that of WithKey":                    {withKey("alice"), "alice"},
		"is WithKey's rather than the header's": {withHeaders(withKey("alice"), header, "bob"), "alice"},
		"is the innermost WithKey's":            {consistenthash.WithKey(withKey("bob"), "alice"), "alice"},
		"is the header's if WithKey's is empty": {withHeaders(consistenthash.WithKey(withKey("bob"), ""), header, "alice"), "alice"},
		"is all values of the header, joined":   {withHeaders(ctx, header, "alice", header, "bob"), "alice,bob"},
		"is also found where it was appended":   {metadata.AppendToOutgoingContext(ctx, header, "alice"), "alice"},
		"may have a header in capitals":         {withHeaders(ctx, strings.ToUpper(header), "alice"), "alice"},
	} {
		got, done, err := pickFrom(tc.ctx, c.state().Picker)
		if err != nil {
			t.Errorf("the key %s: %v", name, err)
			continue
		}
		done()
		if want := c.pick(t, tc.want); got != want {
			t.Errorf("the key %s: picked %s: want %s, where %q goes", name, got, want, tc.want)
		}
	}
}

func keyless() map[string]context.Context {
	ctx := context.Background()
	return map[string]context.Context{
		"nothing":                      ctx,
		"another header":               withHeaders(ctx, "x-other", "alice"),
		"an empty header":              withHeaders(ctx, header, ""),
		"an empty WithKey":             withKey(""),
		"an empty WithKey in a filled": consistenthash.WithKey(withKey("alice"), ""),
	}
}

func TestAnRPCWithoutAKeyEndsWithWhatToDo(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	for config, want := range map[string]string{
		bounded: `consistent_hash: the RPC has no key: set one with consistenthash.WithKey or the request header "x-user-id", ` +
			`or "missingKey": "random" in the service config`,
		`{"missingKey": "error"}`: `consistent_hash: the RPC has no key: set one with consistenthash.WithKey, ` +
			`or "missingKey": "random" in the service config`,
	} {
		c.update(t, config, endpointsAt(addresses(3)...)...)
		for name, ctx := range keyless() {
			_, _, err := pickFrom(ctx, c.state().Picker)
			// INTERNAL is among the codes that gRPC lets a picker return (gRFC A54).
			if got := status.Convert(err); got.Code() != codes.Internal || got.Message() != want {
				t.Errorf("config %s, %s: %v:\nwant Internal: %s", config, name, err, want)
			}
		}
	}
}

func TestAnRPCWithoutAKeyCanGoAnywhere(t *testing.T) {
	for _, config := range []string{
		`{"requestHashHeader": "x-user-id", "missingKey": "random", "loadFactor": 0}`,
		`{"requestHashHeader": "x-user-id", "missingKey": "random"}`,
	} {
		pods := addresses(5)
		c := newChannel(t, "consistent_hash")
		// Two are not READY. Nothing waits for them, as any other is as good (gRFC A76).
		c.hang(pods[0], true)
		c.refuse(pods[1], errRefused)
		c.update(t, config, endpointsAt(pods...)...)
		for name, ctx := range keyless() {
			on := map[string]int{}
			for range 500 {
				address, done, err := pickFrom(ctx, c.state().Picker)
				if err != nil {
					t.Fatalf("config %s, %s: %v", config, name, err)
				}
				done()
				on[address]++
			}
			if len(on) != 3 || on[pods[0]]+on[pods[1]] > 0 {
				t.Errorf("config %s, %s: 500 picks went to %v: want the three READY endpoints", config, name, on)
			}
		}
	}
}

func TestAnRPCWithoutAKeyWaitsForAnyConnection(t *testing.T) {
	pods := addresses(2)
	c := newChannel(t, "consistent_hash")
	for _, pod := range pods {
		c.hang(pod, true)
	}
	c.update(t, `{"missingKey": "random"}`, endpointsAt(pods...)...)
	if _, _, err := pickFrom(context.Background(), c.state().Picker); err == nil {
		t.Error("picked although nothing is connected")
	}
	c.connected(pods[1])
	c.deliver()
	if got, _, err := pickFrom(context.Background(), c.state().Picker); err != nil || got != pods[1] {
		t.Errorf("picked %q, %v: want %s", got, err, pods[1])
	}
}

func TestAPickAllocatesNothing(t *testing.T) {
	for config, header := range map[string]float64{
		bounded:   1, // the copy that gRPC's metadata package makes of the header's values
		unbounded: 1,
	} {
		c := newChannel(t, "consistent_hash")
		c.update(t, config, endpointsAt(addresses(10)...)...)
		picker := c.state().Picker
		for want, ctx := range map[float64]context.Context{0: withKey("k"), header: withHeader("k")} {
			got := testing.AllocsPerRun(100, func() {
				result, err := picker.Pick(balancer.PickInfo{Ctx: ctx})
				if err != nil {
					t.Fatal(err)
				}
				if result.Done != nil {
					result.Done(balancer.DoneInfo{})
				}
			})
			if got > want {
				t.Errorf("config %s: a pick makes %v allocations: want at most %v", config, got, want)
			}
		}
	}
}
