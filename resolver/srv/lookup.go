package srv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/resolver"
)

// maxParallel is how many questions for addresses are open at once.
const maxParallel = 16

// result is what a look-up found.
type result struct {
	name      string // the whole name that has the records
	endpoints []resolver.Endpoint
	hosts     map[string][]netip.Addr // the addresses of the endpoints' hosts
	ttl       time.Duration           // how long all of it is good for; not yet bounded
	empty     string                  // why there are no endpoints, when there are none
	partial   error                   // names that could not be looked up beside those that could
}

// lookup is one look-up of a target: its SRV records, and the addresses of their hosts.
type lookup struct {
	servers *servers
	query   string
	// last is what the last look-up that found something has found: what stays good
	// while a part of DNS fails.
	last result
}

// run asks for one name of the search list after the other, until one has SRV records.
//
// Nothing is there only when every name says so. A name that fails is passed over, as
// libc does, for one of the others may be the one that was meant. But while we have
// endpoints from one name, the failure of another one does not lead us to a third.
func (l *lookup) run(ctx context.Context) (result, error) {
	names := l.servers.names(l.query)
	if len(names) == 0 {
		return result{}, fmt.Errorf("%s: no name of the search list is a domain name", l.query)
	}
	nothing := result{ttl: math.MaxInt64}
	var denied []string
	var failure error
	for _, name := range names {
		found, err := l.records(ctx, name)
		switch {
		case err != nil:
			failure = errors.Join(failure, err)
			if errors.Is(err, errUnanswered) || ctx.Err() != nil {
				return result{}, failure
			}
		case len(found.records) == 0 && !found.unavailable:
			denied = append(denied, name)
			nothing.ttl = min(nothing.ttl, found.ttl)
		case failure != nil && (found.unavailable || l.last.name != "" && l.last.name != name):
			return result{}, failure
		case found.unavailable:
			return result{ttl: found.ttl, empty: name + ` says that there is no such service (target ".", RFC 2782)`}, nil
		default:
			r, err := l.endpoints(ctx, name, found)
			if failure = errors.Join(failure, r.partial, err); len(r.endpoints) == 0 && failure != nil {
				return result{}, failure
			}
			r.partial = failure

			return r, nil
		}
	}
	if failure != nil {
		return result{}, failure
	}
	nothing.empty = l.query + " has no SRV records"
	if len(names) > 1 || names[0] != dns.Fqdn(l.query) {
		nothing.empty += " (asked for " + strings.Join(denied, ", ") + ")"
	}

	return nothing, nil
}

func (l *lookup) records(ctx context.Context, name string) (answer, error) {
	reply, err := l.servers.ask(ctx, name, dns.TypeSRV)
	if err != nil {
		return answer{}, err
	}
	found, err := readSRV(reply)
	if err != nil {
		return answer{}, fmt.Errorf("%s SRV: %w", name, err)
	}

	return found, nil
}

// endpoints makes endpoints of the records with the lowest priority value whose hosts
// have addresses. A client is to try the hosts with the lowest value that it can reach
// (RFC 2782); whether it reaches one is not known here.
func (l *lookup) endpoints(ctx context.Context, name string, found answer) (result, error) {
	r := result{name: name, ttl: found.ttl}
	byPriority := make(map[uint16][]record)
	for _, record := range found.records {
		byPriority[record.priority] = append(byPriority[record.priority], record)
	}
	for _, priority := range slices.Sorted(maps.Keys(byPriority)) {
		records := byPriority[priority]
		hosts, err := l.addresses(ctx, records, found.hosts)
		r.partial = errors.Join(r.partial, err)
		r.hosts = make(map[string][]netip.Addr, len(hosts))
		for host, addresses := range hosts {
			r.hosts[host] = addresses.list
			r.ttl = min(r.ttl, addresses.ttl)
		}
		if r.endpoints = endpointsOf(records, r.hosts); len(r.endpoints) > 0 {
			return r, nil
		}
	}
	if r.partial != nil {
		return result{}, r.partial
	}
	r.empty = fmt.Sprintf("no target of the %d SRV records of %s has an address", len(found.records), name)

	return r, nil
}

// addresses are those of the records' hosts: as they came with the records, or as they
// are looked up. A host that cannot be looked up keeps those of the last time; the error
// is about such.
func (l *lookup) addresses(ctx context.Context, records []record, given map[string]addresses) (map[string]addresses, error) {
	type question struct {
		host string
		kind uint16
	}
	hosts := make(map[string]addresses)
	var questions []question
	for _, record := range records {
		if _, seen := hosts[record.host]; seen {
			continue
		}
		hosts[record.host] = given[record.host]
		if len(given[record.host].list) == 0 {
			questions = append(questions, question{record.host, dns.TypeAAAA}, question{record.host, dns.TypeA})
		}
	}
	answers := make([]addresses, len(questions))
	failures := make([]error, len(questions))
	var group errgroup.Group
	group.SetLimit(maxParallel)
	for i, q := range questions {
		group.Go(func() error {
			answers[i], failures[i] = l.address(ctx, q.host, q.kind)

			return nil
		})
	}
	// A failure is that of one host, and no reason to stop the others.
	_ = group.Wait()
	for i, q := range questions {
		hosts[q.host] = merge(hosts[q.host], answers[i])
	}

	return hosts, errors.Join(failures...)
}

// address asks for the addresses of a host, of one family.
func (l *lookup) address(ctx context.Context, host string, kind uint16) (addresses, error) {
	reply, err := l.servers.ask(ctx, host, kind)
	if err == nil {
		var found addresses
		if found, err = readAddresses(reply); err == nil {
			return found, nil
		}
		err = fmt.Errorf("%s %s: %w", host, dns.TypeToString[kind], err)
	}
	kept := addresses{ttl: math.MaxInt64}
	for _, ip := range l.last.hosts[host] {
		if ip.Is4() == (kind == dns.TypeA) {
			kept.list = append(kept.list, ip)
		}
	}

	return kept, err
}

// merge puts the families of a host together. That a family has no address says nothing
// about how long those of the other one are good for.
func merge(a, b addresses) addresses {
	if (len(a.list) > 0) == (len(b.list) > 0) {
		return addresses{list: append(a.list, b.list...), ttl: min(a.ttl, b.ttl)}
	}
	if len(a.list) > 0 {
		return a
	}

	return b
}
