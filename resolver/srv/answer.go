package srv

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// record is an SRV record that names an endpoint.
type record struct {
	priority uint16
	weight   uint16
	port     uint16
	host     string // in lower case, with the dot at its end
}

// addresses are those of one host.
type addresses struct {
	list []netip.Addr
	ttl  time.Duration // the smallest of theirs, or how long it is good for that there are none
}

// answer is what a DNS message says about the SRV records of a name.
type answer struct {
	records []record
	hosts   map[string]addresses // from the additional section
	// ttl is the smallest of the records and aliases, or how long it is good for that
	// there are none.
	ttl time.Duration
	// unavailable says that the service is decidedly not available: the only target is "."
	// (RFC 2782).
	unavailable bool
}

var (
	errAliasLoop = errors.New("its aliases (CNAME) lead back to themselves")
	errOffTopic  = errors.New("an answer with records of other names alone")
)

// readSRV reads the answer to a question for SRV records. Only records of the name asked
// for count, or of the name that it is an alias for, and only addresses of hosts that
// these name.
func readSRV(reply *dns.Msg) (answer, error) {
	name, ttl, err := canonical(reply)
	if err != nil {
		return answer{}, err
	}
	a := answer{ttl: ttl, hosts: make(map[string]addresses)}
	for _, rr := range reply.Answer {
		srv, ok := rr.(*dns.SRV)
		if !ok || dns.CanonicalName(srv.Hdr.Name) != name || srv.Hdr.Class != dns.ClassINET {
			continue
		}
		a.ttl = min(a.ttl, ttlOf(srv.Hdr))
		host := dns.CanonicalName(srv.Target)
		switch {
		case host == ".":
			a.unavailable = true
		case srv.Port != 0:
			a.records = append(a.records, record{priority: srv.Priority, weight: srv.Weight, port: srv.Port, host: host})
			a.hosts[host] = addresses{ttl: math.MaxInt64}
		}
	}
	if len(a.records) == 0 {
		a.ttl = min(a.ttl, negativeTTL(reply))

		return a, checkEmpty(reply, name)
	}
	a.unavailable = false
	for _, rr := range reply.Extra {
		host := dns.CanonicalName(rr.Header().Name)
		known, wanted := a.hosts[host]
		ip, ok := addressOf(rr)
		if !wanted || !ok {
			continue
		}
		known.list = append(known.list, ip)
		known.ttl = min(known.ttl, ttlOf(*rr.Header()))
		a.hosts[host] = known
	}

	return a, nil
}

// readAddresses reads the answer to a question for the A or AAAA records of a host.
func readAddresses(reply *dns.Msg) (addresses, error) {
	name, ttl, err := canonical(reply)
	if err != nil {
		return addresses{}, err
	}
	found := addresses{ttl: ttl}
	for _, rr := range reply.Answer {
		if dns.CanonicalName(rr.Header().Name) != name {
			continue
		}
		if ip, ok := addressOf(rr); ok {
			found.list = append(found.list, ip)
			found.ttl = min(found.ttl, ttlOf(*rr.Header()))
		}
	}
	if len(found.list) == 0 {
		found.ttl = min(found.ttl, negativeTTL(reply))

		return found, checkEmpty(reply, name)
	}

	return found, nil
}

// checkEmpty is an error when there are answers, but none about the name or an alias of
// it: that is no way to say that there is nothing.
func checkEmpty(reply *dns.Msg, name string) error {
	about := func(rr dns.RR) bool { return dns.CanonicalName(rr.Header().Name) == name }
	if len(reply.Answer) > 0 && dns.CanonicalName(reply.Question[0].Name) == name && !slices.ContainsFunc(reply.Answer, about) {
		return errOffTopic
	}

	return nil
}

// canonical is the name that the name asked for is an alias for, by way of the CNAME
// records in the answer, and the smallest TTL of these. It is the name itself when it is
// none. Whom we ask has asked for the rest of the way: there is no use in asking again
// (RFC 1034, section 4.3.1).
func canonical(reply *dns.Msg) (name string, ttl time.Duration, err error) {
	aliases := make(map[string]*dns.CNAME)
	for _, rr := range reply.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && alias.Hdr.Class == dns.ClassINET {
			aliases[dns.CanonicalName(alias.Hdr.Name)] = alias
		}
	}
	name, ttl = dns.CanonicalName(reply.Question[0].Name), math.MaxInt64
	for range len(aliases) + 1 {
		alias, ok := aliases[name]
		if !ok {
			return name, ttl, nil
		}
		name, ttl = dns.CanonicalName(alias.Target), min(ttl, ttlOf(alias.Hdr))
	}

	return "", 0, errAliasLoop
}

func addressOf(rr dns.RR) (netip.Addr, bool) {
	var raw net.IP
	switch rr := rr.(type) {
	case *dns.A:
		raw = rr.A
	case *dns.AAAA:
		raw = rr.AAAA
	}
	ip, ok := netip.AddrFromSlice(raw)
	ip = ip.Unmap()
	// Blocklists answer 0.0.0.0. To dial that would be to dial ourselves.
	return ip, ok && rr.Header().Class == dns.ClassINET && !ip.IsUnspecified()
}

// negativeTTL is how long it is good for that there is no such record (RFC 2308, section
// 5). Without an SOA record that is not at all.
func negativeTTL(reply *dns.Msg) time.Duration {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttlOf(soa.Hdr), seconds(soa.Minttl))
		}
	}

	return 0
}

func ttlOf(header dns.RR_Header) time.Duration { return seconds(header.Ttl) }

// seconds takes what has the topmost bit set for 0, as RFC 2181, section 8 has it.
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}

	return time.Duration(ttl) * time.Second
}
