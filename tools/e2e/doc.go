// Package e2e holds the end-to-end tests: every overlay on a real Kubernetes, as a user applies it, under the changes
// and the faults that a day brings.
//
//	make e2e                                                            # on a cluster that tools/cluster starts
//	go test -tags e2e -timeout 30m ./tools/e2e -context kind-evenkeel   # on any other, which must be for tests
//
// The tests do what they do by kubectl, with the commands that the READMEs give, and read the outcome from the client's
// report. They drain nodes and turn the cluster's DNS off, so the cluster has to be named: it is the current context
// of kubectl, and -context has to say the same. Namespaces that an overlay needs must not exist before; they are
// deleted at the end.
//
// What must hold of every strategy fails a test. What a strategy is free to do, such as to lose RPCs in a rollout, is
// recorded: it is printed, and with -out written to a file that docs/kubernetes.md quotes.
package e2e
