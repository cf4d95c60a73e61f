// Package results is the lab's record of an experiment: what results.json
// holds. docs/measurements.md defines each figure.
//
// Names are camelCase. Times are RFC 3339, durations are seconds, latencies
// milliseconds. A figure that could not be measured is null, never 0. Within
// a schema version fields may be added; the ones here keep name and meaning.
package results

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// SchemaVersion is the version of the format that this package writes.
const SchemaVersion = 1

// Results is one experiment: some overlays, under one scenario, at once.
type Results struct {
	SchemaVersion int         `json:"schemaVersion"`
	StartedAt     time.Time   `json:"startedAt"`
	Environment   Environment `json:"environment"`
	Scenario      Scenario    `json:"scenario"`
	Runs          []Run       `json:"runs"`
	// Notes are what a reader should know before trusting a figure, such as
	// a load that the generator could not keep up; one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Environment is where the experiment ran.
type Environment struct {
	// Kind is "local" or "kubernetes".
	Kind string `json:"kind"`
	// Version is the version of the lab.
	Version string `json:"version"`
	// GoVersion, OS, Arch and CPUs describe the machine of the lab.
	GoVersion string `json:"goVersion"`
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	CPUs      int    `json:"cpus"`
	// BusyFraction is the part of the machine's CPU time that was used during
	// the experiment, and StealFraction the part that a hypervisor took away;
	// 0 to 1, null where the system does not say.
	BusyFraction  *float64 `json:"busyFraction"`
	StealFraction *float64 `json:"stealFraction"`
	// Cluster is what is known of the cluster; null without one.
	Cluster *Cluster `json:"cluster,omitempty"`
}

// Cluster is a Kubernetes that an experiment ran on. What it does not tell is "".
type Cluster struct {
	// Version is the API server's.
	Version string `json:"version"`
	// ProxyMode is kube-proxy's, such as "nftables".
	ProxyMode string `json:"proxyMode,omitempty"`
	// Corefile is the configuration of the cluster's DNS, if that is CoreDNS.
	Corefile string `json:"corefile,omitempty"`
	Nodes    []Node `json:"nodes"`
}

// Node is one that takes pods.
type Node struct {
	Name    string `json:"name"`
	Zone    string `json:"zone,omitempty"`
	Kubelet string `json:"kubelet"`
	Runtime string `json:"runtime"`
	OS      string `json:"os"`
	Kernel  string `json:"kernel"`
	Arch    string `json:"arch"`
	CPUs    int64  `json:"cpus"`
}

// Scenario is the script that every run was under.
type Scenario struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Service is the service that the faults were done to.
	Service string `json:"service"`
	// Load is the arrival rate for each service, in RPCs a second.
	Load map[string]float64 `json:"load"`
	// Phases are the steps in order.
	Phases []ScenarioPhase `json:"phases"`
}

// ScenarioPhase is one step of a scenario.
type ScenarioPhase struct {
	Name string `json:"name"`
	// Action says what was done at the beginning of the phase, for people, such as
	// "scale to 6"; "" for a phase that only watches.
	Action string `json:"action,omitempty"`
	// Graceful says that nothing in the phase excuses a failed RPC.
	Graceful  bool      `json:"graceful"`
	StartedAt time.Time `json:"startedAt"`
	Seconds   float64   `json:"seconds"`
}

// Run is one service of one overlay under the scenario.
type Run struct {
	Overlay string `json:"overlay"`
	Service string `json:"service"`
	// Control says that no fault was done to this service: what its run shows is
	// the machine's noise.
	Control bool `json:"control"`
	// Target and ServiceConfig are the strategy.
	Target        string `json:"target"`
	ServiceConfig string `json:"serviceConfig"`
	// Keys says which keys the RPCs carried; null when they carried none.
	Keys *Keys `json:"keys"`
	// Phases has an entry for each phase of the scenario, in order.
	Phases []Phase `json:"phases"`
	// Timeline is the run in small steps, for pictures.
	Timeline Timeline `json:"timeline"`
}

// Keys are what the RPCs of a run carried, such as the user that each was for.
type Keys = loadreport.Keys

// Phase is what was measured in one phase of a run. RPCs belong to the phase in
// which they were meant to be sent.
type Phase struct {
	Name      string    `json:"name"`
	StartedAt time.Time `json:"startedAt"`
	Seconds   float64   `json:"seconds"`
	// RPCs counts RPCs meant to be sent; Failed those whose final status was not
	// OK; FailedAttempts attempts that were not OK, saved by a retry or not.
	RPCs           int64            `json:"rpcs"`
	Failed         int64            `json:"failed"`
	FailedAttempts int64            `json:"failedAttempts"`
	ErrorsByCode   map[string]int64 `json:"errorsByCode"`
	// FirstError is an example of what failed, for people.
	FirstError string `json:"firstError,omitempty"`
	// MaxOverMean and Jain say how evenly the RPCs were spread over the pods that
	// were ready for the whole phase: the largest share over the mean share (1 is
	// even, N is one pod of N), and Jain's fairness index (1 is even, 1/N is one
	// pod of N). Null when fewer than two pods were, or no RPC succeeded.
	MaxOverMean *float64 `json:"maxOverMean"`
	Jain        *float64 `json:"jain"`
	// Affinity is how faithful keys were to pods: the share of RPCs that went to the
	// same pod as the RPC with their key before them. MovedKeys is, where the set of
	// ready pods is not what it was at the end of the phase before, the share of keys
	// that are on another pod at the end of this one, and MovedKeysIdeal the share that
	// had to move for the load to stay even: 1 - |A∩B| / max(|A|, |B|) for the pods A
	// before and B after. Null without keys and where there is too little to tell.
	Affinity       *float64 `json:"affinity"`
	MovedKeys      *float64 `json:"movedKeys"`
	MovedKeysIdeal *float64 `json:"movedKeysIdeal"`
	// LatencyMs is over RPCs that succeeded, from the intended send time.
	LatencyMs Latency `json:"latencyMs"`
	// Connections is the largest number of connections open at once.
	Connections *int64 `json:"connections"`
	// RecoverySeconds is, for a phase in which the number of ready pods rose from
	// zero, the time from the first pod being ready to the first RPC that
	// succeeded; null in every other phase and when none did.
	RecoverySeconds *float64 `json:"recoverySeconds"`
	Cost            Cost     `json:"cost"`
	// Pods has the pods that existed in the phase.
	Pods []Pod `json:"pods"`
}

// Latency is in milliseconds; null when no RPC succeeded.
type Latency struct {
	P50 *float64 `json:"p50"`
	P90 *float64 `json:"p90"`
	P99 *float64 `json:"p99"`
	Max *float64 `json:"max"`
}

// Cost is what the strategy asked of the cluster in the phase; null where the
// environment cannot see it.
type Cost struct {
	DNSQueries  *int64 `json:"dnsQueries"`
	APIRequests *int64 `json:"apiRequests"`
	WatchEvents *int64 `json:"watchEvents"`
	WatchBytes  *int64 `json:"watchBytes"`
}

// Pod is one pod in one phase.
type Pod struct {
	Name string `json:"name"`
	// RPCs counts the RPCs of the phase that ended with OK here.
	RPCs int64 `json:"rpcs"`
	// ReadyAt is when the pod was first ready in an EndpointSlice; null if never.
	ReadyAt *time.Time `json:"readyAt"`
	// UnreadyAt is when it last stopped being ready there; null if it did not.
	UnreadyAt *time.Time `json:"unreadyAt"`
	// FirstRPCSeconds, given in the phase in which the pod became ready, is the
	// time from then to the first attempt sent to it, in whatever phase that was;
	// null when none ever was, and in every other phase.
	FirstRPCSeconds *float64 `json:"firstRpcSeconds"`
	// OffSeconds, given in the phase in which the pod stopped being ready, is the
	// time from then to the last attempt sent to it, 0 when there was none after;
	// null in every other phase.
	OffSeconds *float64 `json:"offSeconds"`
}

// Timeline is a run cut into bins of equal length.
type Timeline struct {
	StartedAt  time.Time `json:"startedAt"`
	BinSeconds float64   `json:"binSeconds"`
	// RPCs and Failed have a count for each bin.
	RPCs   []int64 `json:"rpcs"`
	Failed []int64 `json:"failed"`
	// Pods are in the order in which they were first ready.
	Pods []TimelinePod `json:"pods"`
}

// TimelinePod is one pod's life. A pod with a time that is null did not get so
// far during the run.
type TimelinePod struct {
	Name string `json:"name"`
	// ReadyAt is when it was first ready in an EndpointSlice, UnreadyAt when it
	// last stopped being, EndedAt when its process was gone.
	ReadyAt   *time.Time `json:"readyAt"`
	UnreadyAt *time.Time `json:"unreadyAt"`
	EndedAt   *time.Time `json:"endedAt"`
	// EndReason is "drained" when it left at the request of its controller and
	// "killed" when it was killed; "" while it lives.
	EndReason string `json:"endReason,omitempty"`
	// RPCs counts, for each bin, the RPCs that ended with OK here.
	RPCs []int64 `json:"rpcs"`
}
