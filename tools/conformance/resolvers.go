package conformance

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/sercand/kuberesolver/v5"
	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/resolver/endpointslice"
)

// Resolver is one that can be put to the test: a column of the table.
type Resolver struct {
	Name   string // in the head of the table
	Module string // whose version belongs to the name; "" for this one
	Scheme string // of its targets
	// Reads is the resource that it lists and watches, as a missing permission names it.
	Reads string
	// NewBuilder makes a builder that asks an API server as a configuration says.
	NewBuilder func(*rest.Config, Settings) (resolver.Builder, error)
	// InfoOf reads what an endpoint's attributes say of its pod. It is nil for a resolver that sets none.
	InfoOf func(resolver.Endpoint) (pod, node, zone string)
	// Zones is the query of targets that prefer the client's zone; "" for a resolver that cannot.
	Zones string
	// Packages begin the names of the functions that its goroutines run, so that those which it leaves can be told.
	Packages []string
}

// Resolvers are the columns.
func Resolvers() []Resolver { return []Resolver{Endpointslice(), Kuberesolver()} }

// Endpointslice is this repository's resolver.
func Endpointslice() Resolver {
	return Resolver{
		Name:   "endpointslice",
		Scheme: endpointslice.Scheme,
		Reads:  "endpointslices",
		NewBuilder: func(config *rest.Config, settings Settings) (resolver.Builder, error) {
			return endpointslice.NewBuilder(endpointslice.Config{
				REST: config, Zone: settings.Zone, Coalesce: settings.Coalesce, Logger: slog.New(slog.DiscardHandler),
			}), nil
		},
		InfoOf: func(endpoint resolver.Endpoint) (pod, node, zone string) {
			info, _ := endpointslice.InfoOf(endpoint)

			return info.Pod, info.Node, info.Zone
		},
		Zones: "?zone=prefer",
		Packages: []string{
			"github.com/evenkeel/evenkeel/resolver/endpointslice", "k8s.io/client-go/tools/cache", "k8s.io/apimachinery/pkg/watch",
		},
	}
}

// Kuberesolver is kuberesolver v5, with a client for the API that stands in for its own: that one can only be made in a
// pod, from files at a fixed place.
func Kuberesolver() Resolver {
	return Resolver{
		Name:   "kuberesolver",
		Module: "github.com/sercand/kuberesolver/v5",
		Scheme: "kubernetes",
		Reads:  "endpoints",
		NewBuilder: func(config *rest.Config, _ Settings) (resolver.Builder, error) {
			client := &apiClient{host: config.Host, tokenFile: config.BearerTokenFile}
			anonymous := *config
			anonymous.BearerTokenFile = ""
			transport, err := rest.TransportFor(&anonymous)
			if err != nil {
				return nil, fmt.Errorf("make a transport: %w", err)
			}
			client.http = &http.Client{Transport: transport}

			return kuberesolver.NewBuilder(client, "kubernetes"), nil
		},
		Packages: []string{"github.com/sercand/kuberesolver"},
	}
}

// apiClient reads its token file for each request; kuberesolver's own reads it when the file changes.
type apiClient struct {
	host, tokenFile string
	http            *http.Client
}

// Host is the API server's URL.
func (a *apiClient) Host() string { return a.host }

// GetRequest is a request with the present token.
func (a *apiClient) GetRequest(address string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API: %w", err)
	}
	token, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))

	return request, nil
}

// Do sends a request.
func (a *apiClient) Do(request *http.Request) (*http.Response, error) { return a.http.Do(request) }
