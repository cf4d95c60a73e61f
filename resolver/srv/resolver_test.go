package srv

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"google.golang.org/grpc/resolver"
)

const (
	whole    = "_grpc._tcp.rng.test."
	noRecord = "error: srv: no endpoints for srv:///rng.test.:grpc: _grpc._tcp.rng.test. has no SRV records"
)

// pods answers with these pods, by TTL in seconds.
func pods(ttl string, ips ...string) handler {
	var lines []string
	for i, ip := range ips {
		host := "pod" + string(rune('a'+i)) + ".test."
		lines = append(lines, whole+" "+ttl+" IN SRV 0 50 8081 "+host, host+" "+ttl+" IN A "+ip)
	}

	return zone(lines...)
}

// fixture is a resolver in a bubble of its own, whose time passes when all wait.
type fixture struct {
	*fakeNetwork
	*channel

	resolver resolver.Resolver
}

// start begins with the server's answer. Random is 0: no wait is longer than it must be,
// and a backoff is 0.8 of what it would be.
func start(t *testing.T, config Config, h handler) *fixture {
	t.Helper()
	f := &fixture{fakeNetwork: newNetwork(), channel: new(channel)}
	f.set(first, h)
	config.Server, config.Logger = first, quiet
	if config.ResolvConf == "" {
		config.ResolvConf = "no/such/file"
	}
	b := &builder{config: config, exchange: f.exchange, random: func() float64 { return 0 }}
	var err error
	f.resolver, err = b.Build(resolver.Target{URL: mustParse(t, "srv:///rng.test.:grpc")}, f.channel, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.resolver.Close() })
	synctest.Wait()

	return f
}

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (f *fixture) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, f.told()); diff != "" {
		t.Errorf("%s, gRPC was told (-want +got):\n%s", when, diff)
	}
}

func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestTheNameIsLookedUpAgainWhenItsTTLIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, pods("30", "10.1.0.1"))
		f.expect(t, "at the start", "10.1.0.1:8081")
		f.set(first, pods("30", "10.1.0.1", "10.1.0.2"))
		after(30*time.Second - 1)
		f.expect(t, "before the TTL is over")
		after(1)
		f.expect(t, "after the TTL", "10.1.0.1:8081 10.1.0.2:8081")
	})
}

func TestAnAnswerThatIsTheSameIsNoUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, pods("30", "10.1.0.1", "10.1.0.2"))
		f.told()
		f.questions()
		after(10 * time.Minute)
		f.expect(t, "later")
		if asked := len(f.questions()); asked != 20 {
			t.Errorf("in 10 minutes with a TTL of 30 s it was looked up %d times", asked)
		}
	})
}

func TestTheTTLIsBoundedAndAtMostATenthIsAdded(t *testing.T) {
	r := &srvResolver{config: Config{MinTTL: 5 * time.Second, MaxTTL: time.Minute}}
	for ttl, want := range map[time.Duration][2]time.Duration{
		0:                {5 * time.Second, 5500 * time.Millisecond},
		30 * time.Second: {30 * time.Second, 33 * time.Second},
		time.Hour:        {time.Minute, 66 * time.Second},
	} {
		r.random = func() float64 { return 0 }
		least := r.bounded(ttl)
		r.random = func() float64 { return 1 }
		if most := r.bounded(ttl); least != want[0] || most != want[1] {
			t.Errorf("a TTL of %s is %s to %s, want %s to %s", ttl, least, most, want[0], want[1])
		}
	}
}

func TestResolveNowIsHeededOnceInMinTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{MinTTL: 5 * time.Second}, pods("30", "10.1.0.1"))
		f.told()
		f.questions()
		after(time.Second)
		f.set(first, pods("30", "10.1.0.2"))
		for range 100 {
			f.resolver.ResolveNow(resolver.ResolveNowOptions{})
		}
		after(4*time.Second - 1)
		f.expect(t, "before MinTTL")
		after(1)
		f.expect(t, "after MinTTL", "10.1.0.2:8081")
		// The last of the hundred may have come while the first was being heeded.
		after(10 * time.Second)
		if asked := len(f.questions()); asked > 2 {
			t.Errorf("it was looked up %d times", asked)
		}
		f.resolver.ResolveNow(resolver.ResolveNowOptions{})
		f.set(first, pods("30", "10.1.0.3"))
		after(0)
		f.expect(t, "later than MinTTL", "10.1.0.3:8081")
	})
}

func TestNothingIsToldAtOnceWithTheNameThatWasLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, pods("30", "10.1.0.1"))
		f.told()
		f.set(first, zone())
		after(30 * time.Second)
		f.expect(t, "after NXDOMAIN", "nothing", noRecord)
		f.set(first, pods("30", "10.1.0.1"))
		after(800 * time.Millisecond)
		f.expect(t, "when it is back", "10.1.0.1:8081")
		f.set(first, zone(whole+" 30 IN TXT no-srv"))
		after(30 * time.Second)
		f.expect(t, "after NODATA", "nothing", noRecord)
	})
}

func TestAnEmptyAnswerIsAskedForAgainAtItsTTLAndSoonerAtFirst(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		answer handler
		want   []time.Duration
	}{
		"SOA of 20 s": {Config{}, zone(), []time.Duration{800, 1280, 2048, 3276, 5242, 8388, 13421, 20000, 20000}},
		"no SOA":      {Config{MinTTL: 3 * time.Second}, fails(dns.RcodeNameError), []time.Duration{800, 1280, 2048, 3000, 3000}},
		"SOA of a day": {
			Config{MaxTTL: 10 * time.Second},
			func(_ string, query *dns.Msg) *dns.Msg {
				reply := new(dns.Msg).SetRcode(query, dns.RcodeNameError)
				reply.Ns = []dns.RR{soa(86400)}

				return reply
			},
			[]time.Duration{800, 1280, 2048, 3276, 5242, 8388, 10000, 10000},
		},
	} {
		inBubble(t, name, func(t *testing.T) { expectWaits(t, start(t, test.config, test.answer), test.want) })
	}
}

func TestFailuresAreFollowedByLongerAndLongerWaits(t *testing.T) {
	inBubble(t, "SERVFAIL", func(t *testing.T) {
		expectWaits(t, start(t, Config{}, fails(dns.RcodeServerFailure)),
			[]time.Duration{800, 1280, 2048, 3276, 5242, 8388, 13421, 21474, 24000, 24000})
	})
}

// expectWaits holds the waits between look-ups to what is expected, in whole milliseconds.
func expectWaits(t *testing.T, f *fixture, want []time.Duration) {
	t.Helper()
	var got []time.Duration
	last := time.Now()
	f.fakeNetwork.mu.Lock()
	f.notice = func() {
		if wait := time.Since(last).Truncate(time.Millisecond) / time.Millisecond; wait > 0 {
			got, last = append(got, wait), time.Now()
		}
	}
	f.fakeNetwork.mu.Unlock()
	after(2 * time.Minute)
	f.resolver.Close()
	if diff := cmp.Diff(want, got[:min(len(want), len(got))]); diff != "" {
		t.Errorf("waits in ms (-want +got):\n%s", diff)
	}
}

func TestTheLastGoodSetStaysWhileDNSFails(t *testing.T) {
	for name, broken := range map[string]handler{
		"SERVFAIL": fails(dns.RcodeServerFailure), "REFUSED": fails(dns.RcodeRefused), "silence": silent, "gone": nil,
	} {
		inBubble(t, name, func(t *testing.T) {
			f := start(t, Config{}, pods("30", "10.1.0.1"))
			f.told()
			f.mu(func() {
				if broken == nil {
					delete(f.servers, first)
				} else {
					f.servers[first] = broken
				}
			})
			after(time.Hour)
			f.expect(t, "while it fails")
			f.set(first, pods("30", "10.1.0.2"))
			after(30*time.Second + 10*time.Second)
			f.expect(t, "when it is back", "10.1.0.2:8081")
		})
	}
}

func (f *fixture) mu(do func()) {
	f.fakeNetwork.mu.Lock()
	defer f.fakeNetwork.mu.Unlock()
	do()
}

func TestAFailureIsToldOnlyWhileThereIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, fails(dns.RcodeServerFailure))
		failed := "error: srv: no endpoints for srv:///rng.test.:grpc: the look-up failed: " + whole + " SRV: 10.0.0.1:53: SERVFAIL"
		f.expect(t, "at the start", failed)
		f.set(first, zone())
		after(time.Second)
		f.expect(t, "when there is nothing", noRecord)
		f.set(first, fails(dns.RcodeServerFailure))
		after(2 * time.Second)
		f.expect(t, "when it fails again", failed)
		f.set(first, pods("30", "10.1.0.1"))
		after(10 * time.Second)
		f.expect(t, "when there is something", "10.1.0.1:8081")
	})
}

func TestALookUpEndsWithItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{Timeout: 3 * time.Second}, silent)
		after(3*time.Second - 1)
		f.expect(t, "before")
		after(1)
		got := strings.Join(f.told(), "")
		if !strings.Contains(got, "the look-up failed: "+whole+" SRV: context deadline exceeded") {
			t.Errorf("gRPC was told %q", got)
		}
	})
}

func TestEndpointsThatThePolicyRefusesAreOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, pods("30", "10.1.0.1"))
		f.told()
		f.refusing(errors.New("not these"))
		f.set(first, pods("30", "10.1.0.2"))
		after(30 * time.Second)
		f.expect(t, "at first", "10.1.0.2:8081")
		after(time.Second)
		f.expect(t, "after a backoff", "10.1.0.2:8081")
		f.refusing(nil)
		after(2 * time.Second)
		f.expect(t, "after another one", "10.1.0.2:8081")
		after(time.Minute)
		f.expect(t, "when it was taken")
	})
}

func (f *fixture) refusing(err error) {
	f.channel.mu.Lock()
	defer f.channel.mu.Unlock()
	f.refuse = err
}

func TestAChangeOfResolvConfCountsAtTheNextLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := resolvConf(t, "nameserver 10.0.0.2")
		n, c := newNetwork(), new(channel)
		n.set("10.0.0.2:53", pods("30", "10.1.0.1"))
		n.set("10.0.0.3:53", pods("30", "10.1.0.2"))
		b := &builder{config: Config{ResolvConf: path, Logger: quiet}, exchange: n.exchange, random: func() float64 { return 0 }}
		r, err := b.Build(resolver.Target{URL: mustParse(t, "srv:///rng.test.:grpc")}, c, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		synctest.Wait()
		rewrite(t, path, "nameserver 10.0.0.3")
		after(30 * time.Second)
		if diff := cmp.Diff([]string{"10.1.0.1:8081", "10.1.0.2:8081"}, c.told()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCloseEndsALookUpAndTellsNothingMore(t *testing.T) {
	for name, h := range map[string]handler{"in a look-up": silent, "between two": pods("30", "10.1.0.1"), "in a backoff": fails(dns.RcodeRefused)} {
		inBubble(t, name, func(t *testing.T) {
			f := start(t, Config{}, h)
			f.told()
			began := time.Now()
			f.resolver.Close()
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %s", took)
			}
			f.resolver.ResolveNow(resolver.ResolveNowOptions{})
			f.set(first, pods("30", "10.1.0.2"))
			after(time.Hour)
			f.expect(t, "after Close")
			f.resolver.Close()
		})
	}
}
