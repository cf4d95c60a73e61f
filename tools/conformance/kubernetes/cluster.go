package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

// slack is for a server that shares two cores with etcd, with the controllers, and with the other runs of a suite.
const slack = 3

// Cluster is a namespace of a real API server, and a proxy before it.
type Cluster struct {
	clients   kubernetes.Interface // the administrator's
	transport http.RoundTripper    // of those, which client-go shares among all of the same configuration
	namespace string
	proxy     *proxy
	backend   string
}

// New makes a namespace with the credentials of an administrator, and a proxy that leads to the API server without
// them.
func New(ctx context.Context, admin *rest.Config) (*Cluster, error) {
	access, err := rest.HTTPClientFor(unlimited(admin))
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server %s: %w", admin.Host, err)
	}
	clients, err := kubernetes.NewForConfigAndClient(unlimited(admin), access)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server %s: %w", admin.Host, err)
	}
	backend, err := ownAddress()
	if err != nil {
		return nil, err
	}
	c := &Cluster{clients: clients, transport: access.Transport, backend: backend}
	if c.proxy, err = newProxy(admin); err != nil {
		return nil, err
	}
	made, err := clients.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "conformance-", Labels: map[string]string{"app.kubernetes.io/part-of": "evenkeel"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a namespace: %w", err), c.proxy.close())
	}
	c.namespace = made.Name

	return c, nil
}

// unlimited is a configuration without a limit of requests, and without warnings that Endpoints are deprecated.
func unlimited(admin *rest.Config) *rest.Config {
	config := rest.CopyConfig(admin)
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON

	return config
}

// Close removes the namespace with all that is in it, and the proxy. It does not wait until the namespace has gone.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.clients.CoreV1().Namespaces().Delete(ctx, c.namespace, metav1.DeleteOptions{})
	if err != nil {
		err = fmt.Errorf("delete the namespace %s: %w", c.namespace, err)
	}

	utilnet.CloseIdleConnectionsFor(c.transport)

	return errors.Join(err, c.proxy.close())
}

// REST leads to the proxy.
func (c *Cluster) REST() *rest.Config { return c.proxy.config() }

// Namespace is this cluster's alone.
func (c *Cluster) Namespace() string { return c.namespace }

// IssueToken makes a service account if need be, and asks for a token of it.
func (c *Cluster) IssueToken(ctx context.Context, namespace, serviceAccount string) (string, error) {
	accounts := c.clients.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: serviceAccount}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("make the service account %s: %w", serviceAccount, err)
	}
	issued, err := accounts.CreateToken(ctx, serviceAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("issue a token for the service account %s: %w", serviceAccount, err)
	}

	return issued.Status.Token, nil
}

// RevokeToken has the proxy replace a token by one that nobody issued.
func (c *Cluster) RevokeToken(_ context.Context, token string) error {
	c.proxy.revoke(token)

	return nil
}

// SetOutage takes the proxy away.
func (c *Cluster) SetOutage(outage conformance.Outage) error { return c.proxy.door.set(outage) }

// CloseWatches ends the watches that go through the proxy.
func (c *Cluster) CloseWatches() { c.proxy.watches.end() }

// Expire has the proxy ask for a version of long ago wherever one from before now is asked for.
func (c *Cluster) Expire(ctx context.Context) error {
	now, err := versionOf(ctx, c.clients, c.namespace)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(now, 10, 64)
	if err != nil {
		return fmt.Errorf("resourceVersion of the API server: %w", err)
	}
	c.proxy.expire(number)

	return nil
}

// versionOf is the present resourceVersion of the EndpointSlices in a namespace.
func versionOf(ctx context.Context, clients kubernetes.Interface, namespace string) (string, error) {
	list, err := clients.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", fmt.Errorf("ask for the present resourceVersion: %w", err)
	}

	return list.ResourceVersion, nil
}

// AtOnce holds events back at the proxy.
func (c *Cluster) AtOnce(write func() error) error {
	defer c.proxy.watches.hold()()

	return write()
}

// BackendHost is an address of this host.
func (c *Cluster) BackendHost() string { return c.backend }

// Slack is that of a busy machine.
func (c *Cluster) Slack() float64 { return slack }

// ownAddress is an address of this host that the API takes as an endpoint's.
func ownAddress() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("addresses of this host: %w", err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String(), nil
		}
	}

	return "", fmt.Errorf("addresses of this host: %v, and backends need one that is neither loopback nor link-local", addresses)
}
