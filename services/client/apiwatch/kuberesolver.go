package apiwatch

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/sercand/kuberesolver/v5"
	"google.golang.org/grpc/resolver"
)

// kubernetesScheme is kuberesolver's.
const kubernetesScheme = "kubernetes"

func init() { registerKuberesolver(nil, "") }

// registerKuberesolver registers kuberesolver with a client for the API; without
// one it makes its own when it is in a cluster.
func registerKuberesolver(client kuberesolver.K8sClient, namespace string) {
	resolver.Register(namespaced{
		Builder: kuberesolver.NewBuilder(client, kubernetesScheme), namespace: namespace,
	})
}

// namespaced completes a target without a namespace, which kuberesolver looks for
// in the pod's files only.
type namespaced struct {
	resolver.Builder

	namespace string
}

// Build is kuberesolver's, with the target completed.
func (n namespaced) Build(
	target resolver.Target, cc resolver.ClientConn, options resolver.BuildOptions,
) (resolver.Resolver, error) {
	r, err := n.Builder.Build(complete(target, n.namespace), cc, options)
	if err != nil {
		return nil, fmt.Errorf("kuberesolver: %w", err)
	}

	return r, nil
}

// complete adds the namespace to a target that has none. Those with one are, in
// kuberesolver's reading, kubernetes:///service.namespace:port,
// kubernetes://service.namespace:port and kubernetes://namespace/service:port.
func complete(target resolver.Target, namespace string) resolver.Target {
	endpoint := target.Endpoint()
	if target.URL.Host != "" {
		if target.URL.Port() == "" && endpoint != "" {
			return target
		}
		endpoint = target.URL.Host
	}
	service, _, _ := strings.Cut(endpoint, ":")
	if namespace == "" || strings.Contains(service, ".") {
		return target
	}
	target.URL.Host, target.URL.Path, target.URL.RawPath, target.URL.Opaque = namespace, "/"+endpoint, "", ""

	return target
}

// apiClient asks an API server at a given address as the owner of a token.
type apiClient struct {
	host      string
	tokenFile string
	http      *http.Client
}

func newAPIClient(c Config) (*apiClient, error) {
	pool, err := certificates(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API: %w", err)
	}
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}

	// No timeout: a watch lasts.
	return &apiClient{
		host:      strings.TrimRight(c.API, "/"),
		tokenFile: c.TokenFile,
		http:      &http.Client{Transport: transport},
	}, nil
}

// Host is the API server's URL.
func (a *apiClient) Host() string { return a.host }

// GetRequest is a request for a URL of the API. Tokens of pods are valid for an
// hour and replaced in their file before that, so it is read each time.
func (a *apiClient) GetRequest(address string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API: %w", err)
	}
	if a.tokenFile != "" {
		token, err := readToken(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("kubernetes API: token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}

	return request, nil
}

// Do sends a request.
func (a *apiClient) Do(request *http.Request) (*http.Response, error) {
	return a.http.Do(request)
}
