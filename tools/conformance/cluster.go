package conformance

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// Cluster is an API server for one run of one behaviour, which may break it as it likes. Cutting, refusing and expiring
// must therefore not be felt by another run: the implementation over a real API server puts a proxy of its own before it
// for each run, and REST leads there.
//
// It serves core/v1, discovery/v1 and rbac.authorization.k8s.io/v1, authenticates bearer tokens of service accounts, and
// judges requests by RBAC. No controller may write Endpoints or EndpointSlices beside the suite. (Over a real one:
// etcd and kube-apiserver are enough. If the controller-manager runs too, the Services of the suite have no
// selector and their Endpoints carry the label skip-mirror, so that it leaves both alone.)
//
// What has returned is in effect for every request that is made afterwards, except for RBAC: a behaviour waits for
// that, since a real server's authorizer follows the API with a delay.
type Cluster interface { //nolint:interfacebloat // each is something that behaviours do to a server
	// REST says where the API is, without credentials. Callers change only copies.
	REST() *rest.Config

	// Namespace is one that exists, that is empty when the run begins, and in which the run puts everything.
	Namespace() string

	// Put creates or replaces an object, whatever its resourceVersion. The kinds are Service, Endpoints, EndpointSlice, Role
	// and RoleBinding.
	Put(ctx context.Context, object Object) error
	// Delete removes an object that has the kind, namespace and name of this one; it is no error if there is none.
	Delete(ctx context.Context, object Object) error

	// IssueToken makes a new bearer token for a service account; earlier ones stay valid.
	IssueToken(ctx context.Context, namespace, serviceAccount string) (string, error)
	// RevokeToken makes requests with a token fail with 401, as if it had expired. Open watches go on.
	RevokeToken(ctx context.Context, token string) error

	// SetOutage takes the API away, or brings it back.
	SetOutage(outage Outage) error
	// CloseWatches ends the open watches in good order, as a server does when their time is up.
	CloseWatches()
	// Expire makes every resourceVersion before the present one too old: a watch from one gets 410 Gone. A real server
	// does so when etcd is compacted and its watch cache has moved on.
	Expire(ctx context.Context) error
	// AtOnce runs a function that writes. Open watches hear of none of it until it has returned, and then of all of it. A
	// real server takes milliseconds for each write, so that fifty changes would come one by one.
	AtOnce(write func() error) error

	// BackendHost is an IP address at which the suite can listen and that the API takes as an endpoint's. (A real API
	// server refuses loopback addresses there.)
	BackendHost() string

	// Slack is the factor by which a resolver may take longer than a behaviour says: 1 where nothing else keeps the
	// machine busy. It goes for what is waited for, not for how long something must stay as it is.
	Slack() float64
}

// Object is any Kubernetes API object.
type Object interface {
	metav1.Object
	runtime.Object
}

// Outage is how an API server is away.
type Outage int

// The ways for an API server to be away. In all, open connections are cut.
const (
	Up       Outage = iota
	Refusing        // new connections are refused, as when no process listens
	Breaking        // new connections are accepted and cut, as by a load balancer without a backend
	Silent          // new connections get no answer until it is over, as when a network loses all packets
)
