// Package endpointslice is a gRPC name resolver that follows a Kubernetes Service by watching its EndpointSlices.
//
// Importing it registers the scheme "endpointslice", which works inside a cluster without any configuration:
//
//	import _ "github.com/evenkeel/evenkeel/resolver/endpointslice"
//
//	grpc.NewClient("endpointslice:///rng-headless:grpc", …)
//
// [NewBuilder] makes a resolver for everything else: another API server, a zone to prefer, an injected clock.
//
// What a channel is told is always built from all slices of the Service together, and never from the event that was the
// occasion. While the API server cannot be reached, the last good set of endpoints stays. Whatever goes wrong is told to
// the channel, to the log and to the metrics; the README lists it all, with the Role that the program needs.
//
// The API server is asked by client-go's reflector over a REST client that knows the group discovery.k8s.io/v1 and nothing
// else: the typed clients of Kubernetes would add 14 MB to a program.
package endpointslice
