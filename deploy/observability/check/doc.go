// Package check reads the dashboards and the rules of deploy/observability, starts a real Prometheus on its configuration and
// asks it: whether each query has an answer, and which alerts have fired. It is for tests, of which some need a cluster.
package check
