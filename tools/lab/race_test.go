//go:build race

package main_test

// With the race detector on, the lab and the services have it too: it looks at them
// as well, and nothing is compiled a second time.
func init() { buildFlags = []string{"-race"} }
