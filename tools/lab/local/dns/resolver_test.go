package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	_ "google.golang.org/grpc/resolver/dns" // the scheme under test
	"google.golang.org/grpc/serviceconfig"
)

func TestGosResolverFindsAServiceByEveryNameItHas(t *testing.T) {
	r := goResolver(listen(t, populated(t), Options{}))
	want := []string{"127.1.0.1", "127.1.0.2", "127.1.0.5"}
	for _, name := range []string{
		"rng-headless", "rng-headless.", "rng-headless.dns", "rng-headless.dns.svc",
		"rng-headless.dns.svc.cluster.local", "rng-headless.dns.svc.cluster.local.",
	} {
		got, err := r.LookupHost(deadlined(t), name)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestGosResolverIsToldThatANameDoesNotExist(t *testing.T) {
	r := goResolver(listen(t, populated(t), Options{}))
	for _, name := range []string{"nobody", "idle", "idle.dns.svc.cluster.local"} {
		_, err := r.LookupHost(deadlined(t), name)
		var dnsError *net.DNSError
		if !errors.As(err, &dnsError) || !dnsError.IsNotFound {
			t.Errorf("%s: got error %v, want one that says it does not exist", name, err)
		}
	}
}

func TestGosResolverGetsALongListWhole(t *testing.T) {
	store, want := many(t, 250)
	got, err := goResolver(listen(t, store, Options{})).LookupHost(deadlined(t), "rng-headless")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestGosResolverFollowsSRVRecordsToAddresses(t *testing.T) {
	r := goResolver(listen(t, populated(t), Options{}))
	_, found, err := r.LookupSRV(deadlined(t), "grpc", "tcp", "rng-headless.dns.svc.cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, service := range found {
		addresses, err := r.LookupHost(deadlined(t), service.Target)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range addresses {
			got = append(got, fmt.Sprint(address, " ", service.Port))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"127.1.0.1 18081", "127.1.0.2 18081", "127.1.0.5 18081"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGosResolverTimesOutWhileTheServerIsDown(t *testing.T) {
	s := listen(t, populated(t), Options{})
	s.SetDown(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := goResolver(s).LookupHost(ctx, "rng-headless")
	var dnsError *net.DNSError
	if !errors.As(err, &dnsError) || !dnsError.IsTimeout {
		t.Errorf("got error %v, want a timeout", err)
	}
}

func TestGRPCsResolverFindsTheEndpoints(t *testing.T) {
	s := listen(t, populated(t), Options{})
	target, err := url.Parse("dns://" + s.Addr().String() + "/rng-headless.:8081")
	if err != nil {
		t.Fatal(err)
	}
	channel := &channel{states: make(chan resolver.State, 1), errors: make(chan error, 1)}
	r, err := resolver.Get("dns").Build(resolver.Target{URL: *target}, channel, resolver.BuildOptions{DisableServiceConfig: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	select {
	case state := <-channel.states:
		for _, endpoint := range state.Endpoints {
			got = append(got, endpoint.Addresses[0].Addr)
		}
	case err := <-channel.errors:
		t.Fatal(err)
	case <-time.After(deadline):
		t.Fatal("nothing was resolved")
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"127.1.0.1:8081", "127.1.0.2:8081", "127.1.0.5:8081"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// One for A, one for AAAA: no guesses.
	if queries := s.Queries(); queries != 2 {
		t.Errorf("it took %d queries, want 2", queries)
	}
}

// channel takes what gRPC's resolver finds.
type channel struct {
	resolver.ClientConn

	states chan resolver.State
	errors chan error
}

func (c *channel) UpdateState(state resolver.State) error {
	c.states <- state
	return nil
}

func (c *channel) ReportError(err error) { c.errors <- err }

func (c *channel) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

// goResolver is Go's own resolver, made to ask the server.
func goResolver(s *Server) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
		},
	}
}

func deadlined(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}
