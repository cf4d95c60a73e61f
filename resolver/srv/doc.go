// Package srv is a gRPC name resolver that follows DNS SRV records (RFC 2782) and
// their TTL. A blank import registers it:
//
//	import _ "github.com/evenkeel/evenkeel/resolver/srv"
//
//	conn, err := grpc.NewClient("srv:///rng-headless:grpc", ...)
//
// looks up the SRV records of _grpc._tcp.rng-headless: the port named grpc of, say, a
// headless Service of Kubernetes. Each target of the records is one endpoint, with the
// port that the record says.
//
// It differs from gRPC's own dns resolver in what it does after the first answer. That
// one waits until a connection breaks, and then at least 30 seconds. This one looks the
// name up again when the answer's TTL is over, and within MinTTL when a connection
// breaks. It takes an empty answer for what it says, and keeps the last good set when
// DNS fails.
//
// What is promised:
//
//   - A new endpoint is seen within the TTL and a tenth of it.
//   - An answer that says that there is nothing (NXDOMAIN, NODATA, target ".") takes all
//     endpoints away at once. RPCs then fail with UNAVAILABLE and the name that was looked
//     up; those that wait for ready wait.
//   - SERVFAIL, timeouts and networks that are down never take an endpoint away.
//   - Close returns when nothing of the resolver runs any more, and does not wait for a
//     look-up to end by itself.
//
// What DNS cannot do is in the README, under Limits.
package srv
