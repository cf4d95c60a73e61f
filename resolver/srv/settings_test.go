package srv

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestResolvConfSaysWhomToAskAndHow(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		want  settings
	}{
		"a pod's": {
			[]string{"search ns.svc.cluster.local svc.cluster.local cluster.local", "nameserver 10.96.0.10", "options ndots:5"},
			settings{
				servers: []string{"10.96.0.10:53"}, search: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local"},
				ndots: 5, timeout: 5 * time.Second, attempts: 2,
			},
		},
		"with every option": {
			[]string{
				"# a comment", "nameserver ::1", "nameserver fe80::1%eth0", "domain example",
				"options timeout:1 attempts:3 rotate ndots:0", "nonsense",
			},
			settings{
				servers: []string{"[::1]:53", "[fe80::1%eth0]:53"}, search: []string{"example"},
				ndots: 0, timeout: time.Second, attempts: 3, rotate: true,
			},
		},
		"with what libc would not take either": {
			[]string{
				"nameserver dns.example", "nameserver 10.0.0.1", "nameserver 10.0.0.2", "nameserver 10.0.0.3", "nameserver 10.0.0.4",
				"options timeout:999999999999 attempts:100 ndots:100",
			},
			settings{
				servers: []string{"10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"}, search: []string{},
				ndots: 15, timeout: 30 * time.Second, attempts: 5,
			},
		},
	} {
		got, err := Config{ResolvConf: resolvConf(t, test.lines...)}.settings()
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(settings{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestAConfiguredServerTakesThePlaceOfThoseInTheFileAndLeavesTheSearchList(t *testing.T) {
	path := resolvConf(t, "nameserver 10.0.0.1", "search example", "options ndots:3")
	got, err := Config{Server: "127.0.0.1:5353", ResolvConf: path}.settings()
	want := settings{servers: []string{"127.0.0.1:5353"}, search: []string{"example"}, ndots: 3, timeout: 5 * time.Second, attempts: 2}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAConfiguredServerNeedsNoFile(t *testing.T) {
	got, err := Config{Server: "127.0.0.1:5353", ResolvConf: "no/such/file"}.settings()
	if err != nil || !cmp.Equal(got.names("rng"), []string{"rng."}) {
		t.Errorf("%v, %v", got.names("rng"), err)
	}
}

func TestWithoutAServerThereIsAnErrorThatNamesTheFile(t *testing.T) {
	empty := resolvConf(t, "search example", "nameserver dns.example")
	for path, want := range map[string]string{
		"no/such/file": "read the name servers: open no/such/file",
		empty:          empty + ": it has no line with nameserver and an address",
	} {
		if _, err := (Config{ResolvConf: path}).settings(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ...%s...", err, want)
		}
	}
}

func TestNamesAreCompletedAsLibcCompletesThem(t *testing.T) {
	pod := settings{search: []string{"ns.svc.cluster.local", "svc.cluster.local.", "cluster.local"}, ndots: 5}
	inPod := func(name string) []string {
		return []string{name + ".ns.svc.cluster.local.", name + ".svc.cluster.local.", name + ".cluster.local.", name + "."}
	}
	long := strings.Repeat("a.", 110) + "a"
	for name, test := range map[string]struct {
		settings settings
		want     []string
	}{
		"_grpc._tcp.rng-headless":                     {pod, inPod("_grpc._tcp.rng-headless")},
		"_grpc._tcp.rng-headless.ns.svc":              {pod, inPod("_grpc._tcp.rng-headless.ns.svc")},
		"_grpc._tcp.rng-headless.ns.svc.cluster":      {pod, append([]string{"_grpc._tcp.rng-headless.ns.svc.cluster."}, inPod("_grpc._tcp.rng-headless.ns.svc.cluster")[:3]...)},
		"_grpc._tcp.rng-headless.":                    {pod, []string{"_grpc._tcp.rng-headless."}},
		"_grpc._tcp.rng":                              {settings{search: []string{"lan"}, ndots: 1}, []string{"_grpc._tcp.rng.", "_grpc._tcp.rng.lan."}},
		"_grpc._tcp.dot":                              {settings{search: []string{"."}, ndots: 1}, []string{"_grpc._tcp.dot."}},
		"_grpc._tcp.odd":                              {settings{search: []string{"a..b", "LAN", "lan"}, ndots: 5}, []string{"_grpc._tcp.odd.lan.", "_grpc._tcp.odd."}},
		long:                                          {settings{search: []string{strings.Repeat("b.", 20)}, ndots: 5}, []string{long + "."}},
		"_grpc._tcp." + strings.Repeat("b", 64) + ".": {pod, []string{"_grpc._tcp." + strings.Repeat("b", 64) + "."}},
	} {
		if diff := cmp.Diff(test.want, test.settings.names(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzResolvConf(f *testing.F) {
	for _, seed := range []string{
		"nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n", "search .\noptions rotate timeout:-1 attempts:x",
		"domain\nnameserver\noptions", "search \\000 a..b \xff", "options timeout:99999999999999999999", "nameserver ::1%\x00",
		"search \\",
	} {
		f.Add(seed, "_grpc._tcp.rng")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		s, err := parseResolvConf([]byte(text))
		if err != nil {
			return
		}
		if s.timeout < time.Second || s.timeout > maxTimeout || s.attempts < 1 || s.attempts > maxAttempts || len(s.servers) > maxServers {
			t.Fatalf("%+v", s)
		}
		// No other names get past ParseTarget.
		if checkName(name) != nil || dns.IsFqdn(name) {
			return
		}
		for _, candidate := range s.names(name) {
			_, err := new(dns.Msg).SetQuestion(candidate, dns.TypeSRV).Pack()
			if err != nil || !strings.HasPrefix(candidate, name+".") {
				t.Fatalf("%q is completed to %q: %v", name, candidate, err)
			}
		}
	})
}
