package dns

import (
	"strings"

	mdns "github.com/miekg/dns"
)

// ednsSize is the largest UDP packet that is said to be welcome: what gets through
// everywhere without fragments.
const ednsSize = 1232

// answer makes the reply to a query. It takes any message that can be unpacked.
func (r records) answer(query *mdns.Msg) *mdns.Msg {
	reply := new(mdns.Msg)
	switch edns := query.IsEdns0(); {
	case query.Opcode != mdns.OpcodeQuery:
		return reply.SetRcode(query, mdns.RcodeNotImplemented)
	case len(query.Question) != 1:
		return reply.SetRcode(query, mdns.RcodeFormatError)
	case edns != nil:
		reply.SetEdns0(ednsSize, edns.Do())
		if edns.Version() != 0 {
			return reply.SetRcode(query, mdns.RcodeBadVers)
		}
	}
	asked := query.Question[0]
	switch {
	case asked.Qclass != mdns.ClassINET,
		asked.Qtype == mdns.TypeAXFR, asked.Qtype == mdns.TypeIXFR,
		asked.Name == ".":
		return reply.SetRcode(query, mdns.RcodeRefused)
	}
	for _, q := range r.guesses(asked) {
		if targets, exists := r.find(q.labels); exists {
			reply.SetReply(query)
			reply.Authoritative = true
			r.fill(reply, q, targets)

			return reply
		}
	}
	reply.SetRcode(query, mdns.RcodeNameError)
	if mdns.IsSubDomain(domain, asked.Name) {
		reply.Authoritative = true
		reply.Ns = []mdns.RR{r.authority()}
	}

	return reply
}

// guesses are the whole names that the one asked for may mean, likeliest first. They are
// what the search list of a pod's resolv.conf makes of it.
func (r records) guesses(asked mdns.Question) []question {
	name := mdns.CanonicalName(asked.Name)
	if mdns.IsSubDomain(domain, name) {
		labels := mdns.SplitDomainName(strings.TrimSuffix(name, domain))

		return []question{{Question: asked, labels: labels, whole: asked.Name}}
	}
	var guesses []question
	for _, middle := range []string{r.namespace + ".svc.", "svc.", ""} {
		guesses = append(guesses, question{
			Question: asked, labels: mdns.SplitDomainName(name + middle), whole: name + middle + domain,
		})
	}

	return guesses
}

// fill puts the records into a reply for a name that exists.
func (r records) fill(reply *mdns.Msg, q question, targets []target) {
	owner := func(target) string { return q.whole }
	switch q.Qtype {
	case mdns.TypeA, mdns.TypeAAAA:
		reply.Answer = r.addresses(q.Qtype, targets, owner)
	case mdns.TypeSRV:
		reply.Answer = r.services(q.whole, targets)
		if len(reply.Answer) > 0 {
			byName := func(t target) string { return t.name }
			extra := append(r.addresses(mdns.TypeA, targets, byName), r.addresses(mdns.TypeAAAA, targets, byName)...)
			reply.Extra = append(extra, reply.Extra...)
		}
	case mdns.TypeTXT:
		if len(q.labels) == 1 && q.labels[0] == "dns-version" {
			reply.Answer = []mdns.RR{&mdns.TXT{Hdr: r.header(q.whole, mdns.TypeTXT), Txt: []string{specification}}}
		}
	case mdns.TypeSOA:
		if len(q.labels) == 0 {
			reply.Answer = []mdns.RR{r.authority()}
		}
	}
	switch {
	case len(reply.Answer) == 0:
		reply.Ns = []mdns.RR{r.authority()}
	case q.whole != q.Name:
		alias := &mdns.CNAME{Hdr: r.header(q.Name, mdns.TypeCNAME), Target: q.whole}
		reply.Answer = append([]mdns.RR{alias}, reply.Answer...)
	}
}
