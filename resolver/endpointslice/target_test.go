package endpointslice

import (
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"
)

func TestATargetNamesAServiceAndItsPort(t *testing.T) {
	for text, want := range map[string]Target{
		"endpointslice:///rng":                              {Service: "rng"},
		"endpointslice:///rng:grpc":                         {Service: "rng", Port: "grpc"},
		"endpointslice:///rng.prod:8081":                    {Service: "rng", Namespace: "prod", Port: "8081"},
		"endpointslice:///rng.prod.svc:grpc":                {Service: "rng", Namespace: "prod", Port: "grpc"},
		"endpointslice:///rng.prod.svc.cluster.local:grpc":  {Service: "rng", Namespace: "prod", Domain: "cluster.local", Port: "grpc"},
		"endpointslice:///rng.prod.svc.cluster.local.:grpc": {Service: "rng", Namespace: "prod", Domain: "cluster.local", Port: "grpc"},
		"endpointslice://prod/rng:grpc":                     {Service: "rng", Namespace: "prod", Port: "grpc"},
		"endpointslice:///1-rng":                            {Service: "1-rng"},
		"endpointslice:///rng?zone=prefer":                  {Service: "rng", PreferZone: true},
		"endpointslice:///rng?zone=prefer&zoneMinimum=3":    {Service: "rng", PreferZone: true, ZoneMinimum: 3},
	} {
		if want.ZoneMinimum == 0 {
			want.ZoneMinimum = DefaultZoneMinimum
		}
		got, err := ParseTarget(targetOf(t, text).URL)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
}

func TestAWrongTargetIsToldByItsPart(t *testing.T) {
	for text, want := range map[string]string{
		"dns:///rng":                                       `scheme "dns"`,
		"endpointslice:rng":                                "must be endpointslice:///SERVICE",
		"endpointslice://":                                 "must be endpointslice:///SERVICE",
		"endpointslice:///":                                "service is missing",
		"endpointslice:///:grpc":                           "service is missing",
		"endpointslice://prod/":                            "service is missing",
		"endpointslice:///Rng":                             `service "Rng"`,
		"endpointslice:///rng/x":                           `service "rng/x"`,
		"endpointslice:////rng":                            `service "/rng"`,
		"endpointslice:///" + strings.Repeat("a", 64):      `must be no more than 63`,
		"endpointslice:///rng.":                            "namespace is missing",
		"endpointslice:///rng.pro_d":                       `namespace "pro_d"`,
		"endpointslice:///rng.prod.":                       `"" after the namespace`,
		"endpointslice:///rng.prod.pod":                    `"pod" after the namespace`,
		"endpointslice:///rng.prod.svc.":                   `domain ""`,
		"endpointslice:///rng.prod.svc.cluster..local":     `domain "cluster..local"`,
		"endpointslice://prod/rng.test":                    `service "rng.test"`,
		"endpointslice://prod:80/rng":                      `namespace "prod:80"`,
		"endpointslice://me@prod/rng":                      "a user",
		"endpointslice:///rng#x":                           `fragment "x"`,
		"endpointslice:///rng:":                            "port is missing",
		"endpointslice:///rng:0":                           `port "0"`,
		"endpointslice:///rng:08081":                       `port "08081"`,
		"endpointslice:///rng:65536":                       `port "65536"`,
		"endpointslice:///rng:gr_pc":                       `port "gr_pc"`,
		"endpointslice:///rng:grpc:grpc":                   `port "grpc:grpc"`,
		"endpointslice:///rng?zon=prefer":                  `query key "zon"`,
		"endpointslice:///rng?zone=only":                   `zone="only"`,
		"endpointslice:///rng?zone=prefer&zone=prefer":     "stands 2 times",
		"endpointslice:///rng?zoneMinimum=2":               "must stand with zone=prefer",
		"endpointslice:///rng?zone=prefer&zoneMinimum=0":   `zoneMinimum="0"`,
		"endpointslice:///rng?zone=prefer&zoneMinimum=1e3": `zoneMinimum="1e3"`,
		"endpointslice:///rng?zone=prefer;zoneMinimum=1":   "query",
	} {
		got, err := ParseTarget(targetOf(t, text).URL)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if _, err := NewBuilder(Config{REST: &rest.Config{}}).Build(targetOf(t, text), newConn(), resolver.BuildOptions{}); err == nil {
			t.Errorf("%s: built", text)
		}
	}
}

func TestTheAuthorityIsTheNameInCertificates(t *testing.T) {
	b := NewBuilder(Config{Namespace: "prod"}).(resolver.AuthorityOverrider)
	for text, want := range map[string]string{
		"endpointslice:///rng:grpc":                         "rng.prod.svc",
		"endpointslice://test/rng:8081":                     "rng.test.svc",
		"endpointslice:///rng.test.svc.cluster.local.:grpc": "rng.test.svc.cluster.local",
		"endpointslice:///RNG":                              "endpointslice",
	} {
		if got := b.OverrideAuthority(targetOf(t, text)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestAZoneToPreferMustBeKnown(t *testing.T) {
	b := NewBuilder(Config{REST: &rest.Config{Host: "http://127.0.0.1:1"}})
	_, err := b.Build(targetOf(t, "endpointslice:///rng?zone=prefer"), newConn(), resolver.BuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "Config.Zone") {
		t.Errorf("got %v", err)
	}
}

func TestOutsideAClusterAnAPIServerMustBeGiven(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := NewBuilder(Config{}).Build(targetOf(t, "endpointslice:///rng"), newConn(), resolver.BuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "KUBERNETES_SERVICE_HOST is not set") {
		t.Errorf("got %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	_, err = NewBuilder(Config{}).Build(targetOf(t, "endpointslice:///rng"), newConn(), resolver.BuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "automountServiceAccountToken") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{
		"endpointslice:///rng", "endpointslice:///rng.prod.svc.cluster.local.:grpc", "endpointslice://prod/rng:8081",
		"endpointslice:///rng:grpc?zone=prefer&zoneMinimum=2", "endpointslice:rng", "endpointslice://a:b@prod/rng#x", "endpointslice:///%2F..:%00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		got, err := ParseTarget(*u)
		if err != nil {
			if got != (Target{}) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v, %q", got, err)
			}
			return
		}
		// Written out again, it means the same.
		again := &url.URL{Scheme: Scheme, Path: "/" + got.Service, RawQuery: u.RawQuery}
		if got.Namespace != "" {
			again.Path += "." + got.Namespace
			if got.Domain != "" {
				again.Path += ".svc." + got.Domain
			}
		}
		if got.Port != "" {
			again.Path += ":" + got.Port
		}
		if same, err := ParseTarget(*again); err != nil || same != got {
			t.Errorf("%s became %+v, and %s %+v, %v", text, got, again, same, err)
		}
		if authority := got.authority(); strings.ContainsAny(authority, "/:@ ") {
			t.Errorf("authority %q", authority)
		}
	})
}
