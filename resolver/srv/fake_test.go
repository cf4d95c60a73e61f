package srv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler makes the reply to a query; nil is a server that does not answer.
type handler func(network string, query *dns.Msg) *dns.Msg

// fakeNetwork has servers by their host:port. What is not there refuses connections.
type fakeNetwork struct {
	mu      sync.Mutex
	servers map[string]handler
	asked   []string // "network server name type", in order
	notice  func()   // is called at each question
}

func newNetwork() *fakeNetwork { return &fakeNetwork{servers: make(map[string]handler)} }

func (n *fakeNetwork) set(server string, h handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[server] = h
}

func (n *fakeNetwork) questions() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = nil

	return asked
}

func (n *fakeNetwork) exchange(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	n.mu.Lock()
	h, ok := n.servers[server]
	q := query.Question[0]
	n.asked = append(n.asked, fmt.Sprint(network, " ", server, " ", q.Name, " ", dns.TypeToString[q.Qtype]))
	if n.notice != nil {
		n.notice()
	}
	n.mu.Unlock()
	if !ok {
		return nil, errors.New("connection refused")
	}
	if reply := h(network, query); reply != nil {
		return reply, nil
	}
	<-ctx.Done()

	return nil, ctx.Err()
}

// zone answers with the records that it has, given as in a zone file. A name that owns
// none does not exist. SRV answers bring the addresses of their targets.
func zone(lines ...string) handler {
	var records []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		records = append(records, rr)
	}

	return func(_ string, query *dns.Msg) *dns.Msg {
		reply := new(dns.Msg).SetReply(query)
		reply.Authoritative = true
		exists := false
		asked := query.Question[0]
		hosts := make(map[string]bool)
		for _, rr := range records {
			if dns.CanonicalName(rr.Header().Name) != dns.CanonicalName(asked.Name) {
				continue
			}
			exists = true
			if rr.Header().Rrtype == asked.Qtype {
				reply.Answer = append(reply.Answer, rr)
			}
			if srv, ok := rr.(*dns.SRV); ok {
				hosts[srv.Target] = true
			}
		}
		if len(reply.Answer) == 0 {
			reply.Ns = append(reply.Ns, soa(20))
			if !exists {
				reply.Rcode = dns.RcodeNameError
			}
		}
		for _, rr := range records {
			if asked.Qtype == dns.TypeSRV && hosts[rr.Header().Name] {
				reply.Extra = append(reply.Extra, rr)
			}
		}

		return reply
	}
}

// soa says how many seconds it is good for that there is nothing.
func soa(seconds uint32) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
		Ns:  "ns.test.", Mbox: "hostmaster.test.", Minttl: seconds,
	}
}

// fails answers with an rcode and nothing else.
func fails(rcode int) handler {
	return func(_ string, query *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(query, rcode) }
}

// silent never answers.
func silent(string, *dns.Msg) *dns.Msg { return nil }

// resolvConf is a file with these lines.
func resolvConf(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	rewrite(t, path, lines...)

	return path
}

// channel is what a resolver thinks is gRPC.
type channel struct {
	resolver.ClientConn

	mu     sync.Mutex
	events []string
	refuse error
}

func (c *channel) UpdateState(s resolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, describe(s.Endpoints))
	// Policies that know nothing of endpoints get one address of each.
	var first []resolver.Address
	for _, endpoint := range s.Endpoints {
		first = append(first, endpoint.Addresses[:min(1, len(endpoint.Addresses))]...)
	}
	if !slices.EqualFunc(first, s.Addresses, resolver.Address.Equal) {
		c.events = append(c.events, fmt.Sprint("addresses: ", s.Addresses))
	}

	return c.refuse
}

func (c *channel) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, "error: "+err.Error())
}

// told returns what gRPC was told since the last time.
func (c *channel) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events
	c.events = nil

	return events
}

// describe writes endpoints as "address+address*weight ...".
func describe(endpoints []resolver.Endpoint) string {
	var texts []string
	for _, endpoint := range endpoints {
		var addresses []string
		for _, address := range endpoint.Addresses {
			addresses = append(addresses, address.Addr)
		}
		text := strings.Join(addresses, "+")
		if text == "" {
			text = "nothing"
		}
		if w := weight.FromEndpoint(endpoint).Weight; w != 0 {
			text += fmt.Sprint("*", w)
		}
		texts = append(texts, text)
	}

	return strings.Join(texts, " ")
}

func mustParse(t testing.TB, text string) url.URL {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}

	return *parsed
}

// quiet keeps what is expected out of the log of the tests.
var quiet = slog.New(slog.DiscardHandler)

func rewrite(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
