// Package servedby names the metadata in which a server says which pod it is, so that
// a client knows the pod behind a virtual IP: in the header of an answer, in the
// trailer of an error.
package servedby

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Keys of the metadata.
const (
	Pod  = "x-served-by"
	Node = "x-served-by-node"
	Zone = "x-served-by-zone"
)

// PodOf is the pod that md names, "" if it names none.
func PodOf(md metadata.MD) string {
	if names := md[Pod]; len(names) > 0 {
		return names[0]
	}

	return ""
}

// Sign says who served the unary RPC of ctx, which ended with err. A response with a header is never retried (gRFC A6),
// so an error carries it in its trailer, which makes it trailers-only.
func Sign(ctx context.Context, by metadata.MD, err error) {
	// Neither can fail before the handler has sent a header of its own, and then it does not matter.
	if err != nil {
		_ = grpc.SetTrailer(ctx, by)
	} else {
		_ = grpc.SetHeader(ctx, by)
	}
}
