//go:build !linux

package load

// newAlarm is the runtime's timer: outside Linux it is precise.
func newAlarm() alarm { return coarseAlarm{} }
