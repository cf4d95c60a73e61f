package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"github.com/evenkeel/evenkeel/resolver/endpointslice"
	"github.com/evenkeel/evenkeel/resolver/srv"
)

// schemes are what ValidateTarget offers when a scheme is not known, those of
// them that are registered.
var schemes = []string{"dns", "endpointslice", "kubernetes", "passthrough", "srv", "unix"}

// hostPortSchemes are the schemes whose endpoint is one host and one port.
var hostPortSchemes = []string{"dns", "passthrough"}

// parsers are those of the resolvers that offer one. gRPC itself would find an error
// only when the channel is first used.
var parsers = map[string]func(url.URL) error{
	endpointslice.Scheme: func(u url.URL) error {
		_, err := endpointslice.ParseTarget(u)

		return err
	},
	srv.Scheme: func(u url.URL) error {
		_, err := srv.ParseTarget(u)

		return err
	},
}

// ValidateTarget is an error when gRPC would not do with the target what its author
// meant: it takes any text, and looks up in DNS what has no scheme that it knows.
func ValidateTarget(target string) error {
	scheme, _, found := strings.Cut(target, "://")
	if found && resolver.Get(strings.ToLower(scheme)) == nil {
		return fmt.Errorf("%q has the scheme %q, which is not known: give one of %s",
			target, scheme, strings.Join(registered(), ", "))
	}
	parsed, err := url.Parse(target)
	if !found && (err != nil || resolver.Get(parsed.Scheme) == nil) {
		// Without a scheme it is a name for DNS.
		parsed, err = url.Parse(resolver.GetDefaultScheme() + ":///" + target)
	}
	if err != nil {
		return fmt.Errorf("%q is not a target URI: give one such as dns:///rng-headless:8081", target)
	}
	endpoint := resolver.Target{URL: *parsed}.Endpoint()
	if endpoint == "" && parsed.Host == "" {
		return fmt.Errorf("%q names no endpoint: give a target such as dns:///rng-headless:8081", target)
	}
	if parse, ok := parsers[parsed.Scheme]; ok {
		return parse(*parsed)
	}
	if !slices.Contains(hostPortSchemes, parsed.Scheme) {
		return nil
	}
	if host, port, err := net.SplitHostPort(endpoint); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q has no host and port at its end: give a target such as dns:///rng-headless:8081 "+
			"(with a slash more before the host than in an http URL)", target)
	}

	return nil
}

func registered() []string {
	return slices.DeleteFunc(slices.Clone(schemes), func(s string) bool { return resolver.Get(s) == nil })
}

// serviceConfig has the fields of a service config that this gRPC knows
// (grpc.service_config.ServiceConfig). gRPC itself passes over the ones that it does
// not, and a misspelt policy is then pick_first.
type serviceConfig struct {
	LoadBalancingPolicy *string                      `json:"loadBalancingPolicy"`
	LoadBalancingConfig []map[string]json.RawMessage `json:"loadBalancingConfig"`
	MethodConfig        []struct {
		Name []struct {
			Service string `json:"service"`
			Method  string `json:"method"`
		} `json:"name"`
		WaitForReady            *bool           `json:"waitForReady"`
		Timeout                 string          `json:"timeout"`
		MaxRequestMessageBytes  json.RawMessage `json:"maxRequestMessageBytes"`
		MaxResponseMessageBytes json.RawMessage `json:"maxResponseMessageBytes"`
		RetryPolicy             *struct {
			MaxAttempts          int               `json:"maxAttempts"`
			InitialBackoff       string            `json:"initialBackoff"`
			MaxBackoff           string            `json:"maxBackoff"`
			BackoffMultiplier    float64           `json:"backoffMultiplier"`
			RetryableStatusCodes []json.RawMessage `json:"retryableStatusCodes"`
		} `json:"retryPolicy"`
	} `json:"methodConfig"`
	RetryThrottling *struct {
		MaxTokens  float64 `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	} `json:"retryThrottling"`
	HealthCheckConfig *struct {
		ServiceName string `json:"serviceName"`
	} `json:"healthCheckConfig"`
}

// ValidateServiceConfig is an error when the text is not a service config, or has
// a field or a policy that nothing here would heed.
func ValidateServiceConfig(text string) error {
	if text == "" {
		return nil
	}
	var sc serviceConfig
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sc); err != nil {
		return fmt.Errorf("%s is not a service config: %s (line 1 of gRPC's doc/service_config.md says what is accepted)",
			quote(text), strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has more after the service config: give one JSON object", quote(text))
	}
	if p := sc.LoadBalancingPolicy; p != nil && balancer.Get(*p) == nil {
		return fmt.Errorf("%s has the loadBalancingPolicy %q, which is not known: give one such as round_robin", quote(text), *p)
	}
	for i, policy := range sc.LoadBalancingConfig {
		if len(policy) != 1 {
			return fmt.Errorf("%s has a loadBalancingConfig whose element %d has %d policies: give one", quote(text), i, len(policy))
		}
	}
	// gRPC's own parser has the last word. It is not exported.
	conn, err := grpc.NewClient("passthrough:///validate",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(text))
	if err != nil {
		return fmt.Errorf("%s: %w", quote(text), err)
	}
	// Nothing was opened: there is nothing that could fail to close.
	_ = conn.Close()

	return nil
}

// quote keeps an error about a long service config on a short line.
func quote(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const limit = 80
	if len(text) > limit {
		text = text[:limit] + "…"
	}

	return strings.ToValidUTF8(text, "")
}
