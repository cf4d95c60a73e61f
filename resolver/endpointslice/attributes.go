package endpointslice

import (
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// Info is what Kubernetes says about an endpoint, beside its addresses. A field is "" if its slice does not have it.
type Info struct {
	Pod  string
	Node string
	Zone string
}

// Equal is for comparing attributes.
func (i Info) Equal(other any) bool {
	o, ok := other.(Info)
	return ok && i == o
}

// String is for logs of gRPC.
func (i Info) String() string { return i.Pod + "@" + i.Node + "/" + i.Zone }

type infoKey struct{}

// InfoOf is what is known about an endpoint of this resolver. It is for LB policies: the attributes are of the endpoint,
// and not of its addresses, where a change would break the connection.
func InfoOf(e resolver.Endpoint) (Info, bool) {
	info, ok := e.Attributes.Value(infoKey{}).(Info)
	return info, ok
}

func withInfo(info Info) *attributes.Attributes { return attributes.New(infoKey{}, info) }
