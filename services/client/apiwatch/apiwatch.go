// Package apiwatch registers the scheme "kubernetes": kuberesolver v5, which
// watches a Service's Endpoints in the Kubernetes API.
//
// In a cluster kuberesolver finds the API by itself. Elsewhere, or to watch as
// somebody else, Config says where the API is and who asks.
package apiwatch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/sercand/kuberesolver/v5"
	"google.golang.org/grpc/resolver"
)

// Scheme is the scheme of targets that are resolved here, such as
// kubernetes:///rng-headless:grpc.
const Scheme = "kubernetes"

// Config says which API is watched, and as whom.
type Config struct {
	API       string `name:"kubernetes-api" placeholder:"URL" help:"Kubernetes API for kubernetes:/// targets. In a cluster it is found without."`
	TokenFile string `name:"kubernetes-token-file" placeholder:"FILE" help:"File with the bearer token for --kubernetes-api, read again for each request."`
	CAFile    string `name:"kubernetes-ca-file" placeholder:"FILE" help:"File with the certificates, in PEM, that --kubernetes-api may be signed by; the system's without."`
	Namespace string `name:"kubernetes-namespace" placeholder:"NAME" help:"Namespace of kubernetes:/// targets that name none; the pod's own without."`
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

// CanResolve is an error when there is no API to ask: none is given and this is
// not a pod.
func (c Config) CanResolve() error {
	if c.API == "" && (os.Getenv("KUBERNETES_SERVICE_HOST") == "" || os.Getenv("KUBERNETES_SERVICE_PORT") == "") {
		return errors.New("this is not a pod, so there is no Kubernetes API to ask: give --kubernetes-api")
	}

	return nil
}

func init() {
	resolver.Register(namespaced{Builder: kuberesolver.NewBuilder(nil, Scheme)})
}

// Register registers the scheme anew, for channels made from now on.
func (c Config) Register() error {
	var client kuberesolver.K8sClient // nil: kuberesolver's own, in a cluster
	if c.API != "" {
		own, err := newAPIClient(c)
		if err != nil {
			return err
		}
		client = own
	}
	resolver.Register(namespaced{Builder: kuberesolver.NewBuilder(client, Scheme), namespace: c.Namespace})

	return nil
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

func readToken(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", pathError(err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%q does not hold a bearer token: one line without spaces", file)
	}

	return token, nil
}

// certificates reads the certificates in a file; nil, the system's, without one.
func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // crypto/tls takes nil for the system's
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, pathError(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%q holds no certificate: give a file in PEM", file)
	}

	return pool, nil
}

// pathError says which file could not be read, and why.
func pathError(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%q cannot be read: %w", p.Path, p.Err)
	}

	return err
}
