package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

// naive is a resolver with the mistakes that are made in the field: a slice replaces all others, a deleted one is
// published like any other, addresses are not put together, conditions are taken as they stand, whatever goes wrong
// empties the state and is tried again at once, and Close waits for nothing.
type naive struct {
	config *rest.Config
	http   *http.Client
	cancel context.CancelFunc
}

func (naive) Scheme() string                        { return "naive" }
func (naive) ResolveNow(resolver.ResolveNowOptions) {}
func (n naive) Close()                              { n.cancel() }

func (n naive) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	name, _, _ := strings.Cut(target.Endpoint(), ":")
	service, namespace, _ := strings.Cut(name, ".")
	address := n.config.Host + "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices?watch=true&sendInitialEvents=true" +
		"&resourceVersionMatch=NotOlderThan&labelSelector=kubernetes.io/service-name%3D" + service
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		for ctx.Err() == nil {
			n.follow(ctx, address, cc)
			_ = cc.UpdateState(resolver.State{})
			<-time.After(10 * time.Millisecond)
		}
		cc.ReportError(ctx.Err())
		<-time.After(5 * time.Second) // it is in no hurry
	}()

	return n, nil
}

func (n naive) follow(ctx context.Context, address string, cc resolver.ClientConn) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return
	}
	response, err := n.http.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	for events := json.NewDecoder(response.Body); ; {
		var event struct{ Object discoveryv1.EndpointSlice }
		if events.Decode(&event) != nil {
			return
		}
		var addresses []resolver.Address
		for _, endpoint := range event.Object.Endpoints {
			if len(event.Object.Ports) > 0 && endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
				addresses = append(addresses, resolver.Address{Addr: fmt.Sprintf("%s:%d", endpoint.Addresses[0], *event.Object.Ports[0].Port)})
			}
		}
		_ = cc.UpdateState(resolver.State{Addresses: addresses})
	}
}

// The behaviours that both resolvers of the table have must still be able to fail.
func TestEachMistakeIsFound(t *testing.T) {
	t.Parallel()
	r := conformance.Resolver{
		Name: "naive", Scheme: "naive", Reads: "endpointslices", Packages: []string{"github.com/evenkeel/evenkeel/tools/conformance_test.naive"},
		NewBuilder: func(config *rest.Config, _ conformance.Settings) (resolver.Builder, error) {
			transport, err := rest.TransportFor(config)

			return naive{config: config, http: &http.Client{Transport: transport}}, err
		},
	}
	mistakes := map[string]string{ // and what is seen of each
		"The endpoints of two slices are one set":                                                                "instead of 10.0.0.1:8081, 10.0.0.2:8081, 10.0.0.3:8081",
		"A deleted slice takes its endpoints away, and no others":                                                "instead of 10.0.0.1:8081, 10.0.0.2:8081",
		"250 endpoints in 3 slices are all there":                                                                "instead of 250 endpoints",
		"An endpoint that stands in two slices for a moment is one endpoint":                                     "10.0.0.2:8081, 10.0.0.3:8081 instead of",
		"An endpoint without conditions is ready":                                                                "no endpoint instead of 10.0.0.1:8081",
		"A port is found by its name":                                                                            "10.0.0.1:8081 instead of 10.0.0.1:8080",
		"IPv6 endpoints are used":                                                                                "fd00::1:8081 instead of",
		"API server refuses connections for 60 s: the endpoints stay, no storm, changes are seen after it":       "no endpoint, and 10.0.0.1:8081 should have stayed",
		"For 60 s each watch ends as it begins: the endpoints stay, no storm, changes are seen after it":         "requests in 60 s",
		"The token is rotated, and the old one expires 2 minutes later: the next watch is made with the new one": "a state without endpoints in between",
		"Close ends the watch, and leaves no goroutine":                                                          "a goroutine still runs",
		"Of two channels to one Service, each sees all when the other is closed":                                 "told something after Close",
	}
	for _, b := range conformance.Behaviours() {
		want, listed := mistakes[b.Name]
		if !listed {
			continue
		}
		delete(mistakes, b.Name)
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			if result := run(t, b, r); result.Passed || !strings.Contains(result.Seen, want) {
				t.Errorf("%s, want %q", result, want)
			}
		})
	}
	for name := range mistakes {
		t.Errorf("there is no behaviour %q", name)
	}
}
