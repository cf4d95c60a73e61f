package srv

import (
	"net/url"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"google.golang.org/grpc/resolver"
)

func TestATargetNamesADomainAndAPort(t *testing.T) {
	for text, want := range map[string]Target{
		"srv:///rng-headless:grpc":                          {"rng-headless", "grpc"},
		"srv:///rng-headless.ns.svc.cluster.local:grpc":     {"rng-headless.ns.svc.cluster.local", "grpc"},
		"srv:///rng-headless.ns.svc.cluster.local.:grpc":    {"rng-headless.ns.svc.cluster.local.", "grpc"},
		"srv:rng-headless:grpc":                             {"rng-headless", "grpc"},
		"SRV:///RNG-Headless:GRPC":                          {"rng-headless", "grpc"},
		"srv:///a_b.example:http-2":                         {"a_b.example", "http-2"},
		"srv:///x:" + strings.Repeat("a", 62):               {"x", strings.Repeat("a", 62)},
		"srv:///" + strings.Repeat("a.", 100) + "a:grpc":    {strings.Repeat("a.", 100) + "a", "grpc"},
		"srv:///" + strings.Repeat("a", 63) + ".example:g1": {strings.Repeat("a", 63) + ".example", "g1"},
	} {
		got, err := ParseTarget(mustParse(t, text))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestABadTargetIsOneLineThatNamesThePart(t *testing.T) {
	for text, want := range map[string]string{
		"dns:///rng:8081":                                 `scheme "dns": want srv`,
		"srv://rng-headless/grpc":                         `authority "rng-headless": want none, as in srv:///name:port-name`,
		"srv://10.0.0.10:53/x:grpc":                       `authority "10.0.0.10:53"`,
		"srv:///rng-headless":                             `port of "rng-headless": want the name of a port after a colon`,
		"srv:///rng-headless:":                            `port "": want the name of a port`,
		"srv:///rng-headless:8081":                        `port "8081": want the name of a port: letters, digits and hyphens, at most 62 of them, and a letter`,
		"srv:///rng-headless:_grpc":                       `port "_grpc": want the name`,
		"srv:///rng-headless:-grpc":                       `want no hyphen`,
		"srv:///rng-headless:gr pc":                       `port "gr pc"`,
		"srv:///:grpc":                                    `name "": want a domain name`,
		"srv:///":                                         `port of ""`,
		"srv:///a..b:grpc":                                `name "a..b": want no empty label`,
		"srv:///.:grpc":                                   `want no empty label`,
		"srv:///a/b:grpc":                                 `label "a/b": want letters`,
		"srv:///ünder.example:grpc":                       `want letters, digits, hyphens and underscores`,
		"srv:///10.0.0.1:grpc":                            `name "10.0.0.1": want a domain name, not an address`,
		"srv:///10.0.0.1":                                 `not an address`,
		"srv:///[::1]:grpc":                               `not an address`,
		"srv:///rng:grpc?zone=x":                          `query "zone=x": want none`,
		"srv:///rng:grpc#x":                               `fragment "x": want none`,
		"srv:///" + strings.Repeat("a", 64) + ":grpc":     `want at most 63 characters`,
		"srv:///" + strings.Repeat("a.", 126) + "a:grpc":  `want at most 242 characters with this port`,
		"srv:///x:" + strings.Repeat("a", 63):             `want the name of a port`,
		"srv:///" + strings.Repeat("a.", 126) + "a:g-rpc": `want at most 241 characters with this port`,
	} {
		got, err := ParseTarget(mustParse(t, text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v, want ...%s...", text, got, err, want)
		}
	}
}

func TestTheAuthorityIsTheNameWithoutThePort(t *testing.T) {
	overrider, ok := NewBuilder(Config{}).(resolver.AuthorityOverrider)
	if !ok {
		t.Fatal("the builder leaves the authority to gRPC")
	}
	for text, want := range map[string]string{
		"srv:///rng-headless:grpc":         "rng-headless",
		"srv:///rng.svc.cluster.local.:x1": "rng.svc.cluster.local",
		"srv:///what is this":              "what is this",
	} {
		if got := overrider.OverrideAuthority(resolver.Target{URL: mustParse(t, text)}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{
		"srv:///rng-headless:grpc", "srv:///a.b.:x", "srv:rng:grpc", "srv://x/y:z", "srv:///:", "srv:///%00:grpc", "srv:///a:1", "srv:///[::1]:grpc",
		"srv:///a%2eb:grpc", "srv:///\u212aelvin:grpc", "srv:///" + strings.Repeat("a.", 130) + ":grpc", "srv:///x:g?", "SRV:///İ:grpc",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := url.Parse(text)
		if err != nil {
			return
		}
		target, err := ParseTarget(*parsed)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: an error of several lines: %v", text, err)
			}

			return
		}
		if again, err := ParseTarget(mustParse(t, target.String())); err != nil || again != target {
			t.Fatalf("%q: %+v is %+v when it is written and read again: %v", text, target, again, err)
		}
		query := new(dns.Msg).SetQuestion(dns.Fqdn(target.query()), dns.TypeSRV)
		packet, err := query.Pack()
		if err != nil {
			t.Fatalf("%q: %s cannot be asked for: %v", text, target.query(), err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(packet); err != nil || back.Question[0].Name != dns.Fqdn(target.query()) {
			t.Fatalf("%q: %s is asked for as %v: %v", text, target.query(), back.Question, err)
		}
	})
}
