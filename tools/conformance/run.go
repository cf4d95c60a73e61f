package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"slices"
)

// Behaviour is something that a resolver does: a row of the table.
type Behaviour struct {
	Name string
	// Sockets says that it makes RPCs over sockets, so that it cannot run in a bubble of testing/synctest.
	Sockets bool
	// Long says that it takes a minute or more, and is idle for most of it.
	Long bool
	// drive returns nil if the resolver behaves so, or else what was seen instead.
	drive func(context.Context, *stage) error
}

// Group is some behaviours under a heading.
type Group struct {
	Heading    string
	Behaviours []Behaviour
}

// Groups are all behaviours, in the order of the table.
func Groups() []Group {
	return []Group{
		{"Endpoints", endpointBehaviours},
		{"Targets and ports", targetBehaviours},
		{"RPCs", rpcBehaviours},
		{"Permissions, and Services that are not there", permissionBehaviours},
		{"An API server in trouble", faultBehaviours},
		{"Channels", sharingBehaviours},
		{"Zones", zoneBehaviours},
	}
}

// Behaviours are those of all groups.
func Behaviours() []Behaviour {
	var all []Behaviour
	for _, group := range Groups() {
		all = slices.Concat(all, group.Behaviours)
	}

	return all
}

// Result is what became of one behaviour of one resolver.
type Result struct {
	Passed        bool
	NotApplicable bool
	Seen          string // instead, or why it is not applicable; "" if it passed
}

// Failed is a result.
func Failed(format string, args ...any) Result { return Result{Seen: fmt.Sprintf(format, args...)} }

// String is the cell of the table.
func (r Result) String() string {
	switch {
	case r.Passed:
		return "pass"
	case r.NotApplicable:
		return "not applicable: " + r.Seen
	}

	return "**no**: " + r.Seen
}

// notApplicableError is a behaviour's answer for a resolver of which the question makes no sense, and why.
type notApplicableError string

func (n notApplicableError) Error() string { return "not applicable: " + string(n) }

// Run runs a behaviour on a cluster that it has to itself. The folder is for its files. A panic in the behaviour
// is a result; one in a goroutine of the resolver is not, and cannot be caught.
func Run(ctx context.Context, b Behaviour, r Resolver, cluster Cluster, folder string) (result Result) {
	pprof.Do(ctx, ownLabel(), func(ctx context.Context) { result = run(ctx, b, r, cluster, folder) })

	return result
}

func run(ctx context.Context, b Behaviour, r Resolver, cluster Cluster, folder string) (result Result) {
	s, err := newStage(ctx, r, cluster, folder)
	if err != nil {
		return Failed("the stage is not ready: %v", err)
	}
	defer func() {
		if p := recover(); p != nil {
			result = Failed("panic: %v\n%s", p, debug.Stack())
		}
		// What was seen first says more.
		if err := s.end(ctx); err != nil && result.Passed {
			result = Failed("%v", err)
		}
	}()
	err = b.drive(ctx, s)
	if reason, ok := errors.AsType[notApplicableError](err); ok {
		return Result{NotApplicable: true, Seen: string(reason)}
	}
	if err != nil {
		return Failed("%v", err)
	}

	return Result{Passed: true}
}
