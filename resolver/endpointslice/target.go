package endpointslice

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Scheme is the scheme of the targets that this package resolves.
const Scheme = "endpointslice"

// DefaultZoneMinimum is how many ready endpoints a zone must have for ?zone=prefer to stay in it. It is 1, as for
// Kubernetes' own trafficDistribution: PreferSameZone (KEP-3015), which leaves the zone when nothing is left there.
const DefaultZoneMinimum = 1

// Target is what a target URI asks for.
type Target struct {
	Service   string
	Namespace string // "" if the target names none
	// Domain is the cluster's domain, "" if the target does not name it. It does not matter to the API server, and is
	// only used for the channel's authority.
	Domain string
	// Port is the name of a port in the slices, or its number there in decimal, or "" for the only one.
	Port string
	// PreferZone asks for endpoints in the client's zone, as long as at least ZoneMinimum of them are ready there.
	PreferZone  bool
	ZoneMinimum int
}

const forms = Scheme + ":///SERVICE[.NAMESPACE[.svc[.DOMAIN]]][:PORT] or " + Scheme + "://NAMESPACE/SERVICE[:PORT]"

// ParseTarget reads a target URI, in either of these forms:
//
//	endpointslice:///SERVICE[.NAMESPACE[.svc[.DOMAIN]]][:PORT]
//	endpointslice://NAMESPACE/SERVICE[:PORT]
//
// PORT is the name of a port in the EndpointSlices or its number there. The query may hold zone=prefer and, with it,
// zoneMinimum=N (1 or more; [DefaultZoneMinimum]). A DOMAIN may end with a dot, as an absolute name in DNS does. Names
// are checked as Kubernetes does. An error names the part that is wrong.
func ParseTarget(u url.URL) (Target, error) {
	t, err := parseTarget(&u)
	if err != nil {
		return Target{}, fmt.Errorf("endpointslice: target %q: %w", u.Redacted(), err)
	}
	return t, nil
}

func parseTarget(u *url.URL) (Target, error) {
	switch {
	case u.Scheme != Scheme:
		return Target{}, fmt.Errorf("scheme %q: must be %q", u.Scheme, Scheme)
	case u.Opaque != "" || !strings.HasPrefix(u.Path, "/"):
		return Target{}, errors.New("must be " + forms)
	case u.User != nil:
		return Target{}, errors.New("a user has no place in it: credentials are part of the client's configuration")
	case u.Fragment != "":
		return Target{}, fmt.Errorf("fragment %q: there must be none", u.Fragment)
	}
	t, err := parseName(u)
	if err != nil {
		return Target{}, err
	}
	if err := t.parseQuery(u); err != nil {
		return Target{}, err
	}
	return t, nil
}

func parseName(u *url.URL) (Target, error) {
	name, port, hasPort := strings.Cut(u.Path[1:], ":")
	t := Target{Namespace: u.Host, ZoneMinimum: DefaultZoneMinimum}
	if hasPort {
		if err := checkPort(port); err != nil {
			return Target{}, err
		}
		t.Port = port
	}
	service, rest, dotted := strings.Cut(name, ".")
	t.Service = service
	if err := checkLabel("service", t.Service); err != nil {
		return Target{}, err
	}
	if dotted {
		if u.Host != "" {
			return Target{}, fmt.Errorf("service %q: must have no dots, as the namespace %q stands before it", name, u.Host)
		}
		namespace, rest, more := strings.Cut(rest, ".")
		t.Namespace = namespace
		if err := checkLabel("namespace", t.Namespace); err != nil {
			return Target{}, err
		}
		if more {
			svc, domain, hasDomain := strings.Cut(rest, ".")
			if svc != "svc" {
				return Target{}, fmt.Errorf("%q after the namespace: must be %q", svc, "svc")
			}
			if t.Domain = strings.TrimSuffix(domain, "."); hasDomain {
				if problems := validation.IsDNS1123Subdomain(t.Domain); len(problems) > 0 {
					return Target{}, fmt.Errorf("domain %q: %s", domain, problems[0])
				}
			}
		}
	}
	if t.Namespace != "" {
		if err := checkLabel("namespace", t.Namespace); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

// checkLabel checks the name of a Service or of a namespace. A Service may begin with a digit since Kubernetes relaxed
// its rule to that of a namespace (KEP-5311).
func checkLabel(part, name string) error {
	if name == "" {
		return fmt.Errorf("%s is missing: must be %s", part, forms)
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%s %q: %s", part, name, problems[0])
	}
	return nil
}

func checkPort(port string) error {
	if port == "" {
		return errors.New("port is missing after the colon: must be a name or a number from 1 to 65535")
	}
	if strings.Trim(port, "0123456789") == "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || port[0] == '0' {
			return fmt.Errorf("port %q: must be a name or a number from 1 to 65535", port)
		}
		return nil
	}
	if problems := validation.IsDNS1123Label(port); len(problems) > 0 {
		return fmt.Errorf("port %q: as it is no number, it must be a name: %s", port, problems[0])
	}
	return nil
}

func (t *Target) parseQuery(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("query %q: %w", u.RawQuery, err)
	}
	for key, values := range query {
		if key != "zone" && key != "zoneMinimum" {
			return fmt.Errorf("query key %q: must be zone or zoneMinimum", key)
		}
		if len(values) != 1 {
			return fmt.Errorf("query key %q: stands %d times, and must stand once", key, len(values))
		}
	}
	if query.Has("zone") {
		if zone := query.Get("zone"); zone != "prefer" {
			return fmt.Errorf("zone=%q in the query: must be %q", zone, "prefer")
		}
		t.PreferZone = true
	}
	if query.Has("zoneMinimum") {
		if !t.PreferZone {
			return errors.New("zoneMinimum in the query: must stand with zone=prefer")
		}
		minimum, err := strconv.ParseUint(query.Get("zoneMinimum"), 10, 31)
		if err != nil || minimum == 0 {
			return fmt.Errorf("zoneMinimum=%q in the query: must be a number, 1 or more", query.Get("zoneMinimum"))
		}
		t.ZoneMinimum = int(minimum)
	}
	return nil
}

// authority is the name under which the endpoints of the Service are known to a client that verifies certificates:
// SERVICE.NAMESPACE.svc, which is also what the API server expects of the certificate of an admission webhook, with the
// domain if the target has it. It has no port: a named one would not be a valid authority.
func (t *Target) authority() string {
	name := t.Service + "." + t.Namespace + ".svc"
	if t.Domain != "" {
		name += "." + t.Domain
	}
	return name
}
