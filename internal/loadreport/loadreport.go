// Package loadreport is what a load generator says about itself while it runs:
// the client serves it, and whoever measures a strategy reads it.
//
// The generator cuts time into frames of fixed length. An RPC belongs to the
// frame in which it was meant to be sent, whenever it ends, so a frame is
// published once the last of its RPCs has ended: in order, and late by no more
// than the RPC timeout. Attempts of an RPC belong to the frame of the RPC and
// carry exact times of their own.
//
// On the wire frames are newline-delimited JSON. Fields may be added; the ones
// here keep their names and meaning.
package loadreport

import (
	"fmt"
	"time"
)

// Frame is what happened to the RPCs of one service that were meant to be sent
// in [Start, Start+Seconds).
type Frame struct {
	// Service is the name of the service that was called: "rng" or "geoip".
	Service string `json:"service"`
	// Start is the beginning of the frame.
	Start time.Time `json:"start"`
	// Seconds is the length of the frame.
	Seconds float64 `json:"seconds"`
	// RPCs counts the RPCs meant to be sent in the frame, sent or not.
	RPCs int64 `json:"rpcs"`
	// Failed counts those whose final status, after retries, was not OK.
	Failed int64 `json:"failed"`
	// ErrorsByCode divides Failed by the name of the final status code, such as
	// "UNAVAILABLE".
	ErrorsByCode map[string]int64 `json:"errorsByCode,omitempty"`
	// NotSent counts those of Failed that never left the generator because its
	// bound on RPCs in flight was reached. They are under the code
	// "RESOURCE_EXHAUSTED" in ErrorsByCode.
	NotSent int64 `json:"notSent,omitempty"`
	// Attempts counts attempts, transparent retries (gRFC A6) included.
	Attempts int64 `json:"attempts"`
	// FailedAttempts counts attempts that did not end with OK, whether or not a
	// later attempt saved the RPC.
	FailedAttempts int64 `json:"failedAttempts"`
	// TransparentRetries counts attempts that gRPC repeated by itself because the
	// server had not processed the one before (gRFC A6).
	TransparentRetries int64 `json:"transparentRetries,omitempty"`
	// LatencyMicros is the histogram of the RPCs that succeeded, as pairs of
	// a latency in microseconds, counted from the intended send time, and a
	// count. Latencies are exact to two significant digits.
	LatencyMicros [][2]int64 `json:"latencyMicros,omitempty"`
	// Connections is how many connections were open when the frame was published.
	Connections int64 `json:"connections"`
	// Pods divides the attempts by whoever took them.
	Pods []Pod `json:"pods,omitempty"`
	// FirstError is an example of what failed in the frame, for people.
	FirstError string `json:"firstError,omitempty"`
}

// Pod is what one server did in a frame. A server is known by the address that
// the attempt went to and the name in x-served-by, of its header or trailer; an attempt
// that brought neither back is under the name "".
type Pod struct {
	// Name is the pod's name, "" when no answer came back.
	Name string `json:"name"`
	// Address is the host and port that the attempt went to: the pod's own or
	// a virtual IP; "" when the attempt never had a connection.
	Address string `json:"address"`
	// RPCs counts RPCs that ended with OK here.
	RPCs int64 `json:"rpcs"`
	// Attempts counts attempts made here.
	Attempts int64 `json:"attempts"`
	// FailedAttempts counts attempts that did not end with OK.
	FailedAttempts int64 `json:"failedAttempts,omitempty"`
	// FirstAttempt and LastAttempt are when the first and the last attempt of
	// the frame were handed to a connection (or, without one, begun).
	FirstAttempt time.Time `json:"firstAttempt"`
	LastAttempt  time.Time `json:"lastAttempt"`
	// Keys divides RPCs by the number of the key that they carried; absent when
	// they carried none.
	Keys map[int]int64 `json:"keys,omitempty"`
}

// Keys says which keys the RPCs carry. Keys are numbered from 0; with "zipf" a
// lower number is drawn more often.
type Keys struct {
	// Distribution is "uniform" or "zipf".
	Distribution string `json:"distribution"`
	// Count is how many keys there are.
	Count int `json:"count"`
	// Skew is the exponent of Zipf's law; absent without it.
	Skew float64 `json:"skew,omitempty"`
	// Header is the metadata key that carries an RPC's key.
	Header string `json:"header"`
}

// String says it in a few words, for people.
func (k Keys) String() string {
	if k.Skew > 0 {
		return fmt.Sprintf("%d, %s (s = %g), in %s", k.Count, k.Distribution, k.Skew, k.Header)
	}

	return fmt.Sprintf("%d, %s, in %s", k.Count, k.Distribution, k.Header)
}
