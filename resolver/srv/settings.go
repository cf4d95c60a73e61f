package srv

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds that libc has too (resolv.conf(5)): a typing error in the file must not stop
// look-ups for a day.
const (
	maxServers  = 3
	maxTimeout  = 30 * time.Second
	maxAttempts = 5
)

// settings say whom to ask for which names: what is in resolv.conf.
type settings struct {
	servers  []string      // host:port, in the order in which they are asked
	search   []string      // suffixes for names that are not whole
	ndots    int           // a name with as many dots is tried as it is first
	timeout  time.Duration // how long one server has for one answer
	attempts int           // how often all servers are asked
	rotate   bool          // each question begins at another server
}

// settings reads resolv.conf, whose servers are passed over when one is configured.
//
// It is read for each look-up: that is some microseconds beside a question over the
// network, and a change of the file counts from the next look-up on.
func (c Config) settings() (settings, error) {
	data, err := os.ReadFile(c.ResolvConf)
	if err != nil && (c.Server == "" || !errors.Is(err, fs.ErrNotExist)) {
		return settings{}, fmt.Errorf("read the name servers: %w", err)
	}
	s, err := parseResolvConf(data)
	if err != nil {
		return settings{}, fmt.Errorf("%s: %w", c.ResolvConf, err)
	}
	if c.Server != "" {
		s.servers = []string{c.Server}
	}
	if len(s.servers) == 0 {
		return settings{}, fmt.Errorf("%s: it has no line with nameserver and an address", c.ResolvConf)
	}

	return s, nil
}

func parseResolvConf(data []byte) (settings, error) {
	parsed, err := dns.ClientConfigFromReader(bytes.NewReader(data))
	if err != nil {
		return settings{}, err
	}
	s := settings{
		search: parsed.Search, ndots: parsed.Ndots,
		timeout:  min(time.Duration(min(parsed.Timeout, int(maxTimeout/time.Second)))*time.Second, maxTimeout),
		attempts: min(parsed.Attempts, maxAttempts),
		rotate:   rotates(data),
	}
	for _, server := range parsed.Servers {
		// A name would have to be looked up itself.
		if _, err := netip.ParseAddr(server); err == nil && len(s.servers) < maxServers {
			s.servers = append(s.servers, net.JoinHostPort(server, parsed.Port))
		}
	}

	return s, nil
}

// rotates looks for the one option that the parser passes over.
func rotates(data []byte) bool {
	for line := range bytes.Lines(data) {
		if words := strings.Fields(string(line)); len(words) > 0 && words[0] == "options" && slices.Contains(words, "rotate") {
			return true
		}
	}

	return false
}

// names are the whole names that name may mean, in the order in which they are tried:
// that of libc and of Go's own resolver. As there, the dots of _port._tcp count.
func (s settings) names(name string) []string {
	if dns.IsFqdn(name) {
		return []string{name}
	}
	var names []string
	add := func(candidate string) {
		// A backslash at the end of a suffix takes the dot for a letter of the name.
		if _, ok := dns.IsDomainName(candidate); ok && dns.IsFqdn(candidate) && !slices.Contains(names, candidate) {
			names = append(names, candidate)
		}
	}
	whole := name + "."
	if strings.Count(name, ".") >= s.ndots {
		add(whole)
	}
	for _, suffix := range s.search {
		// "search ." is how some systems say that there is none.
		add(whole + strings.TrimPrefix(dns.CanonicalName(suffix), "."))
	}
	add(whole)

	return names
}
