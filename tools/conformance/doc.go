// Package conformance is one suite for resolvers that follow a Kubernetes Service: a table of behaviours, each of which
// changes a cluster and watches what a resolver tells its channel. It is run against resolver/endpointslice, which must
// pass every line, and against kuberesolver v5, whose results are recorded. docs/resolvers.md is written from a run:
//
//	go test ./tools/conformance -run TestResolvers -write
//
// The parts:
//
//   - a [Cluster] is an API server, and what can be done to it. [StandIn] is the one that is here; the package
//     kubernetes below this one has another, over a real kube-apiserver, and tests that kill and compact that;
//   - a [Resolver] is one column of the table: how to make its builder, and what it reads;
//   - a [Behaviour] is one row. [Run] runs it for one resolver on one cluster, and gives a [Result];
//   - [Table] and [Splice] put results into the document.
//
// kuberesolver reads core Endpoints, endpointslice reads EndpointSlices. The suite always writes both, with the same
// truth in them: Endpoints are made from the slices as the endpoints controller of Kubernetes makes them from the pods.
//
// Behaviours use the time package and no other clock. In this repository those without RPCs run in a bubble of
// testing/synctest, with the API server on a network in memory: a minute without an API server takes no time, a
// resolver without a clock of its own can be timed as well as one with, and a goroutine that is left behind is seen.
// Against a real API server the same behaviours take the time that they say, and a resolver gets more time, by
// [Cluster.Slack].
package conformance
