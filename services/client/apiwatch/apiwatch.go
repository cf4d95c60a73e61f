// Package apiwatch registers the schemes whose resolvers watch the Kubernetes API:
// "kubernetes" (kuberesolver v5, Endpoints) and "endpointslice" (our own).
//
// In a cluster they find the API by themselves. Elsewhere, or to watch as somebody
// else, Config says where the API is and who asks.
package apiwatch

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/resolver/endpointslice"
)

// schemes are those of the targets that are resolved here, such as
// endpointslice:///rng-headless:grpc.
var schemes = []string{kubernetesScheme, endpointslice.Scheme}

// Config says which API is watched, and as whom.
type Config struct {
	API       string `name:"kubernetes-api" placeholder:"URL" help:"Kubernetes API for kubernetes:/// and endpointslice:/// targets. In a cluster it is found without."`
	TokenFile string `name:"kubernetes-token-file" placeholder:"FILE" help:"File with the bearer token for --kubernetes-api, read again as it is replaced."`
	CAFile    string `name:"kubernetes-ca-file" placeholder:"FILE" help:"File with the certificates, in PEM, that --kubernetes-api may be signed by; the system's without."`
	Namespace string `name:"kubernetes-namespace" placeholder:"NAME" help:"Namespace of such targets that name none; the pod's own without."`
	Zone      string `placeholder:"NAME" help:"Zone that this client runs in, for endpointslice:/// targets with ?zone=prefer."`
}

// Validate names the first flag that cannot be used.
func (c Config) Validate() error {
	if c.API == "" {
		for flag, value := range map[string]string{"token": c.TokenFile, "ca": c.CAFile} {
			if value != "" {
				return fmt.Errorf("--kubernetes-%s-file: %q is of no use without --kubernetes-api", flag, value)
			}
		}

		return nil
	}
	u, err := url.Parse(c.API)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--kubernetes-api: %q is not an API server: give a URL such as https://10.96.0.1:443", c.API)
	}
	if c.TokenFile != "" {
		if _, err := readToken(c.TokenFile); err != nil {
			return fmt.Errorf("--kubernetes-token-file: %w", err)
		}
	}
	if _, err := certificates(c.CAFile); err != nil {
		return fmt.Errorf("--kubernetes-ca-file: %w", err)
	}

	return nil
}

// CanResolve is an error when the target needs what was not given: an API to ask, which
// a pod has of itself, or a zone to prefer.
func (c Config) CanResolve(target string) error {
	u, err := url.Parse(target)
	if err != nil || !slices.Contains(schemes, u.Scheme) {
		return nil //nolint:nilerr // ValidateTarget says what is wrong with it
	}
	if c.API == "" && (os.Getenv("KUBERNETES_SERVICE_HOST") == "" || os.Getenv("KUBERNETES_SERVICE_PORT") == "") {
		return errors.New("this is not a pod, so there is no Kubernetes API to ask: give --kubernetes-api")
	}
	if t, err := endpointslice.ParseTarget(*u); err == nil && t.PreferZone && c.Zone == "" {
		return errors.New("no zone is known that could be preferred: give --zone")
	}

	return nil
}

// Register registers the schemes anew, for channels made from now on.
func (c Config) Register() error {
	ours := endpointslice.Config{Namespace: c.Namespace, Zone: c.Zone}
	if c.API == "" {
		registerKuberesolver(nil, c.Namespace)
	} else {
		client, err := newAPIClient(c)
		if err != nil {
			return err
		}
		registerKuberesolver(client, c.Namespace)
		ours.REST = &rest.Config{
			Host: c.API, BearerTokenFile: c.TokenFile, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CAFile},
		}
	}
	resolver.Register(endpointslice.NewBuilder(ours))

	return nil
}
