// Package kubernetes is the conformance suite's second [conformance.Cluster]: a real API server, with etcd behind it,
// TLS, HTTP/2, protobuf, validation, and RBAC that follows the API with a delay.
//
// Each run has a namespace of its own, and a proxy of its own on the loopback interface, through which the resolver
// under test reaches the API server. Whatever must go wrong for this run alone goes wrong there. The proxy makes up no
// answers: it changes requests so that the API server itself refuses them. A revoked token is replaced by one that
// nobody issued (401), and an expired version by one from before the server's history (410). So status, encoding and
// place of these answers are real. The parts:
//
//   - door.go is the port, which can be shut and whose connections can be cut;
//   - proxy.go is what happens to requests, and stream.go what happens to the answers of watches;
//   - cluster.go is the namespace, and objects.go what is written into it by the administrator.
//
// The tests have the build tag e2e, and take the API server from KUBECONFIG. [TestResolvers] runs the suite;
// [TestAKilledServer] and [TestACompactedServer] do to a server what no proxy can, without one in between: they need
// the server's process, and so the cluster of tools/cluster, in whose network all of them can run:
//
//	make e2e-resolvers
package kubernetes
