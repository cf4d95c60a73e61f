package srv

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"google.golang.org/grpc/resolver"
)

// Target is what a target URI such as srv:///rng-headless:grpc asks for.
type Target struct {
	// Name is the domain name, in lower case. With a dot at its end it is whole; without
	// one the search list of resolv.conf applies.
	Name string
	// Port is the name of the port, in lower case and without its underscore.
	Port string
}

// String is the target as a URI.
func (t Target) String() string { return Scheme + ":///" + t.Name + ":" + t.Port }

// query is the name whose SRV records are looked up (RFC 2782): gRPC is always over TCP.
func (t Target) query() string { return "_" + t.Port + "._tcp." + t.Name }

const (
	// maxLabel is the longest label of a name, in octets (RFC 1035, section 2.3.4). The
	// port's has an underscore too.
	maxLabel = 63
	// maxName is the longest name as text, without the dot at its end (as above, less two
	// octets for the root and the first length).
	maxName = 253
)

// ParseTarget reads a target URI: srv:///NAME:PORT-NAME. An error names the part that is
// wrong, what it is, and what is accepted.
//
// gRPC builds a resolver at the first RPC and not at grpc.NewClient, so a program that is
// given a target by a flag calls this to refuse a bad one at its start.
func ParseTarget(target url.URL) (Target, error) {
	t, err := parseTarget(target)
	if err != nil {
		return Target{}, fmt.Errorf("srv: target %q: %w", target.String(), err)
	}

	return t, nil
}

func parseTarget(target url.URL) (Target, error) {
	switch {
	case !strings.EqualFold(target.Scheme, Scheme):
		return Target{}, fmt.Errorf("scheme %q: want %s", target.Scheme, Scheme)
	case target.Host != "" || target.User != nil:
		return Target{}, fmt.Errorf("authority %q: want none, as in srv:///name:port-name (three slashes)", target.Host)
	case target.RawQuery != "" || target.ForceQuery:
		return Target{}, fmt.Errorf("query %q: want none", target.RawQuery)
	case target.Fragment != "":
		return Target{}, fmt.Errorf("fragment %q: want none", target.Fragment)
	}
	// Kept by Target.Endpoint is all after the first slash, decoded.
	endpoint := strings.ToLower(resolver.Target{URL: target}.Endpoint())
	if _, err := netip.ParseAddr(strings.Trim(endpoint, "[]")); err == nil {
		return Target{}, fmt.Errorf("name %q: want a domain name, not an address", endpoint)
	}
	colon := strings.LastIndexByte(endpoint, ':')
	if colon < 0 {
		return Target{}, fmt.Errorf("port of %q: want the name of a port after a colon, as in srv:///name:port-name", endpoint)
	}
	t := Target{Name: endpoint[:colon], Port: endpoint[colon+1:]}
	if err := checkPort(t.Port); err != nil {
		return Target{}, fmt.Errorf("port %q: %w", t.Port, err)
	}
	if err := checkName(t.Name); err != nil {
		return Target{}, fmt.Errorf("name %q: %w", t.Name, err)
	}
	if most := maxName - len(t.query()) + len(t.Name); len(strings.TrimSuffix(t.Name, ".")) > most {
		return Target{}, fmt.Errorf("name %q: want at most %d characters with this port", t.Name, most)
	}

	return t, nil
}

// checkPort holds a port's name to RFC 6335, section 5.1, but lets it be as long as DNS
// does: Kubernetes' may have more than 15 characters.
func checkPort(port string) error {
	const want = "want the name of a port: letters, digits and hyphens, at most 62 of them"
	switch {
	case port == "" || len(port) > maxLabel-1 || !only(port, alphabet+"-"):
		return errors.New(want)
	case strings.HasPrefix(port, "-") || strings.HasSuffix(port, "-"):
		return errors.New("want no hyphen at its start or end")
	case only(port, "0123456789-"):
		return errors.New(want + ", and a letter among them (the number of the port is in the SRV records; " +
			"for a number that you know, dns:///name:number)")
	}

	return nil
}

// only says whether text has no other characters than the given ones.
func only(text, characters string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(characters, r) })
}

const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

func checkName(name string) error {
	if name == "" {
		return errors.New("want a domain name")
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return errors.New("want a domain name, not an address")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		switch {
		case label == "":
			return errors.New("want no empty label")
		case len(label) > maxLabel:
			return fmt.Errorf("label %q: want at most %d characters", label, maxLabel)
		case !only(label, alphabet+"-_"):
			return fmt.Errorf("label %q: want letters, digits, hyphens and underscores", label)
		}
	}

	return nil
}
