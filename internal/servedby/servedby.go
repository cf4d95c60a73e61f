// Package servedby names the metadata in which a server says which pod it is, so that
// a client knows the pod behind a virtual IP: in the header of an answer, in the
// trailer of an error.
package servedby

import "google.golang.org/grpc/metadata"

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
