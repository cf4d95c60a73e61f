package srv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// servers answer questions: those of resolv.conf, one after the other until one does.
type servers struct {
	settings

	exchange exchange
	first    int // the index of the server that is asked first
}

// errUnanswered says that no server answered at all. So none would answer a question for
// another name either.
var errUnanswered = errors.New("no answer from any name server")

// refusal is an answer that says nothing about the name: SERVFAIL, REFUSED, NOTIMP and
// the like.
type refusal string

func (r refusal) Error() string { return string(r) }

// ask returns the first answer that says what there is of the name: records, NODATA or
// NXDOMAIN. A server that does not, or does not answer in time, is passed over, and all
// are asked again as often as resolv.conf says.
func (s *servers) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	said := make([]string, len(s.servers))
	answered := false
	for range s.attempts {
		for i := range s.servers {
			server := s.servers[(s.first+i)%len(s.servers)]
			reply, err := s.askOne(ctx, server, name, kind)
			if err == nil {
				return reply, nil
			}
			var refused refusal
			answered = answered || errors.As(err, &refused)
			said[i] = server + ": " + oneLine(err)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%s %s: %w (%s)", name, dns.TypeToString[kind], ctx.Err(), join(said))
			}
		}
	}
	err := fmt.Errorf("%s %s: %s", name, dns.TypeToString[kind], join(said))
	if !answered {
		err = fmt.Errorf("%w: %w", errUnanswered, err)
	}

	return nil, err
}

func join(said []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(said), func(s string) bool { return s == "" }), "; ")
}

// oneLine is for joined errors, which have a line each.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// askOne asks one server: with EDNS0, and without it if the server does not know what
// that is (RFC 6891, section 6.2.2).
func (s *servers) askOne(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(name, kind)
	query.SetEdns0(ednsSize, false)
	reply, err := s.send(ctx, server, query)
	if err == nil && reply.Rcode == dns.RcodeFormatError {
		reply, err = s.send(ctx, server, new(dns.Msg).SetQuestion(name, kind))
	}
	if err != nil {
		return nil, err
	}

	return reply, informs(reply)
}

// send sends a query over UDP, and over TCP when the answer is too large for that.
func (s *servers) send(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	for _, network := range []string{"udp", "tcp"} {
		reply, err := s.within(ctx, network, server, query)
		if err != nil || !reply.Truncated {
			return reply, err
		}
	}

	// A part of the records is not the set of endpoints (RFC 2181, section 9).
	return nil, refusal("the answer is larger than a DNS message can be (64 KB)")
}

// within gives the server the time that resolv.conf says.
func (s *servers) within(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, lateError(s.timeout))
	defer cancel()
	reply, err := s.exchange(ctx, network, server, query)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}

	return reply, err
}

type lateError time.Duration

func (l lateError) Error() string { return "no answer within " + time.Duration(l).String() }

// informs is an error unless the reply says what there is of the name.
func informs(reply *dns.Msg) error {
	switch {
	case reply.Rcode == dns.RcodeNameError:
		return nil
	case reply.Rcode != dns.RcodeSuccess:
		return refusal(rcode(reply.Rcode))
	case len(reply.Answer) > 0:
		return nil
	case !reply.Authoritative && !reply.RecursionAvailable:
		return refusal("it neither knows the name nor asks others for it")
	case isReferral(reply.Ns):
		return refusal("it refers to other servers")
	}

	return nil
}

// isReferral tells a referral from NODATA: by name servers without an SOA record
// (RFC 2308, section 2.2).
func isReferral(authority []dns.RR) bool {
	has := func(kind uint16) bool {
		return slices.ContainsFunc(authority, func(rr dns.RR) bool { return rr.Header().Rrtype == kind })
	}

	return has(dns.TypeNS) && !has(dns.TypeSOA)
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}

	return fmt.Sprintf("RCODE %d", code)
}
