package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/go-logr/logr"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

const resource = "endpointslices"

// serviceAccount is where Kubernetes puts the identity of a pod.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// contentTypes asks for protobuf, which costs a tenth of the time of JSON to read, of a server that has it.
const contentTypes = "application/vnd.kubernetes.protobuf,application/json"

// The scheme knows one group: the clientset's knows all of them, and they make up most of a program that imports it.
var (
	scheme         = runtime.NewScheme()
	codecs         = serializer.NewCodecFactory(scheme)
	parameterCodec = runtime.NewParameterCodec(scheme)
)

func init() {
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // errors come as v1 Status
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		panic(err) // two types under one name: not of input, and seen by every test
	}
}

// newClient makes a client for EndpointSlices of a configuration, which it does not change.
func newClient(config *rest.Config, logger *slog.Logger) (*rest.RESTClient, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion = &discoveryv1.SchemeGroupVersion
	c.APIPath = "/apis"
	c.NegotiatedSerializer = codecs.WithoutConversion()
	if c.AcceptContentTypes == "" {
		c.AcceptContentTypes = contentTypes
	}
	if path := c.BearerTokenFile; path != "" {
		// client-go would keep a token for 50 s, whatever the server says of it.
		c.BearerTokenFile, c.BearerToken = "", ""
		c.Wrap(func(base http.RoundTripper) http.RoundTripper { return &tokenFile{path: path, base: base} })
	}
	// One watch for each Service, with a backoff of its own: a limiter could only make it late.
	c.RateLimiter, c.QPS = nil, -1
	if c.UserAgent == "" {
		c.UserAgent = "endpointslice-resolver " + rest.DefaultKubernetesUserAgent()
	}
	if c.WarningHandler == nil && c.WarningHandlerWithContext == nil {
		c.WarningHandlerWithContext = warnings{logger}
	}
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server %s: %w", c.Host, err)
	}
	return client, nil
}

// tokenFile sends the token that is in a file at the moment. Kubernetes renews it there before it expires, and requests
// are so few that reading it each time costs nothing.
type tokenFile struct {
	path string
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f *tokenFile) RoundTrip(r *http.Request) (*http.Response, error) {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(content)))
	return f.base.RoundTrip(r)
}

// WrappedRoundTripper lets connections be closed that are idle.
func (f *tokenFile) WrappedRoundTripper() http.RoundTripper { return f.base }

// inCluster is the configuration that Kubernetes gives to a pod.
func inCluster() (*rest.Config, error) {
	// Looked for first, because client-go would write to stderr that it is missing, and go on without.
	if _, err := os.Stat(serviceAccount + "ca.crt"); err != nil && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil, fmt.Errorf("the pod's service account is not mounted (automountServiceAccountToken): %w", err)
	}
	config, err := rest.InClusterConfig()
	switch {
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, errors.New("no API server is configured, and this is not a pod of a cluster (KUBERNETES_SERVICE_HOST is not set)")
	case err != nil:
		return nil, fmt.Errorf("read the in-cluster configuration: %w", err)
	}
	return config, nil
}

// podNamespace is the namespace of the pod that this runs in, else "default".
func podNamespace() string {
	if content, err := os.ReadFile(serviceAccount + "namespace"); err == nil {
		if namespace := strings.TrimSpace(string(content)); namespace != "" {
			return namespace
		}
	}
	return metav1.NamespaceDefault
}

// warnings logs what the API server says about requests in Warning headers, which client-go would print.
type warnings struct{ logger *slog.Logger }

func (w warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if code == 299 && text != "" {
		w.logger.WarnContext(ctx, "the API server warns", "text", text)
	}
}

// quietly is a logger for client-go, for all of which level debug is enough: what matters is logged here, in the
// terms of this package.
func quietly(logger *slog.Logger) logr.Logger {
	return logr.FromSlogHandler(debugOnly{logger.Handler()})
}

type debugOnly struct{ slog.Handler }

func (d debugOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return d.Handler.Enabled(ctx, min(level, slog.LevelDebug))
}

// Handle implements slog.Handler.
func (d debugOnly) Handle(ctx context.Context, record slog.Record) error {
	record.Level = min(record.Level, slog.LevelDebug)
	return d.Handler.Handle(ctx, record)
}

func (d debugOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return debugOnly{d.Handler.WithAttrs(attrs)}
}

func (d debugOnly) WithGroup(name string) slog.Handler { return debugOnly{d.Handler.WithGroup(name)} }
