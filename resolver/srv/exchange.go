package srv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the largest answer over UDP that is asked for (RFC 6891), in octets. It
	// is what passes everywhere without fragments: the least MTU of IPv6, 1280, less the
	// headers of IPv6 and UDP. DNS Flag Day 2020 settled on it. What is larger comes over
	// TCP.
	ednsSize = 1232
	// readSize is for servers that send more all the same.
	readSize = 4096
)

// exchange sends one query to one server, and returns its answer: over "udp" or "tcp".
// It ends when ctx does.
type exchange func(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error)

// exchangeOverNetwork is the exchange of every resolver but those of some tests.
//
// Each query has a socket, and so a port, of its own, and a random id: both are
// what an attacker who does not see the query has to guess (RFC 5452).
func exchangeOverNetwork(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	// A deadline in the past wakes the reader up, whatever ended ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	wire := dns.Conn{Conn: conn, UDPSize: readSize}
	if err := wire.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		packet, err := wire.ReadMsgHeader(nil)
		if err == nil {
			var reply *dns.Msg
			if reply, err = readReply(packet, query); err == nil {
				return reply, nil
			}
		} else if !errors.Is(err, dns.ErrShortRead) {
			return nil, err
		}
		if network == "tcp" {
			return nil, err
		}
		// It may be a late answer or a forged one. The true one may come yet.
	}
}

// readReply reads a packet, and says what is wrong with it as a reply to the query.
func readReply(packet []byte, query *dns.Msg) (*dns.Msg, error) {
	reply := new(dns.Msg)
	unpackError := reply.Unpack(packet)
	switch {
	case reply.Id != query.Id || !reply.Response || reply.Opcode != dns.OpcodeQuery:
		return nil, errors.New("not the answer to this query")
	case len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		// A server that will not answer, or did not understand, may not repeat the question.
		return reply, nil
	case len(reply.Question) != 1 || !sameQuestion(reply.Question[0], query.Question[0]):
		return nil, errors.New("an answer to another question")
	case reply.Truncated:
		// Some servers cut a record in half.
		return reply, nil
	case unpackError != nil:
		return nil, fmt.Errorf("not a DNS message: %w", unpackError)
	case !complete(packet, reply):
		return nil, errors.New("a DNS message that ends too soon")
	}

	return reply, nil
}

// complete says whether all records are there that the header counts (RFC 1035, section
// 4.1.1). The parser takes what there is, and records that got lost would look like
// endpoints that are gone.
func complete(packet []byte, reply *dns.Msg) bool {
	for i, records := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		if int(binary.BigEndian.Uint16(packet[6+2*i:])) != len(records) {
			return false
		}
	}

	return true
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
