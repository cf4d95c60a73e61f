// Package apiserver stands in for the Kubernetes API server in the local lab: a [Store] of objects, which the lab's
// controllers use in process, and a [Server] that lets unchanged clients of the real API read and watch them over HTTP.
//
// What is as in Kubernetes 1.36, whose source the rules and messages follow:
//
//   - get, list and watch of twelve kinds, at their real paths, in one namespace or all, with label selectors and with
//     field selectors on metadata.name and metadata.namespace; the legacy /api/v1/watch/… paths that kuberesolver v5 uses;
//   - resourceVersion: one revision counter for everything, "", "0", not older than, exact, 504 for one from the future;
//   - watch: initial events (WatchList, KEP-3157) with their end marked, bookmarks, timeoutSeconds, 410 Gone when the
//     version is no longer known. As in a real server since its watch cache, a watch gets that 410 as an ERROR event in
//     a 200 response, and a list of an exact version gets it as the HTTP status;
//   - bearer tokens (401) and RBAC, judged for each request by the Roles and bindings that are in the Store (403);
//   - errors: a metav1.Status with the real reason, code and message;
//   - discovery, as far as `kubectl get` needs it.
//
// What is not:
//
//   - No etcd: everything is in memory and gone with the process. The log for watches keeps at least 4096 changes of
//     all kinds together, and no time span.
//   - No writing over HTTP: every method but GET is 405 for a client with a valid token, whatever its Role. Controllers
//     write to the Store in process, with neither admission nor defaults nor validation beyond name and namespace: an
//     object is served as it was put. There are no finalizers, no garbage collection, no generation, no managed fields.
//   - JSON only, no protobuf or CBOR: 406 for a client that takes nothing else. No Table (kubectl prints NAME and AGE
//     from plain JSON), no OpenAPI, no subresources (status, log, exec), no paging: a list is always whole.
//   - No TLS of its own (a handler leaves that to its http.Server; mind that kubectl, in-cluster configurations and
//     kuberesolver's in-cluster client send their token over TLS only) and no client certificates; tokens are opaque, not JWTs, and do not expire by themselves. A
//     request without a token is 401 except for /version and health: anonymous access is off.
//   - No priority and fairness, no audit, no aggregated APIs, no aggregated ClusterRoles.
//   - Being down is a reset connection, not a closed port: see [Server.SetDown].
package apiserver
