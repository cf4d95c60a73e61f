package srv

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
)

func TestABadConfigIsAnErrorOfTheChannel(t *testing.T) {
	for want, config := range map[string]Config{
		`srv: config: Server "10.0.0.10": want a host and a port, as in 10.96.0.10:53`: {Server: "10.0.0.10"},
		`srv: config: Server "x:0": want a host`:                                       {Server: "x:0"},
		`srv: config: Server ":53": want a host`:                                       {Server: ":53"},
		`srv: config: MinTTL -1s: want 0 for the default, or more`:                     {MinTTL: -time.Second},
		`srv: config: MaxTTL -1s`:                                                      {MaxTTL: -time.Second},
		`srv: config: Timeout -1s`:                                                     {Timeout: -time.Second},
		`srv: config: MaxTTL 1s: want at least MinTTL, which is 5s`:                    {MaxTTL: time.Second},
	} {
		_, err := NewBuilder(config).Build(resolver.Target{URL: mustParse(t, "srv:///rng:grpc")}, new(channel), resolver.BuildOptions{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := NewBuilder(Config{}).Build(resolver.Target{URL: mustParse(t, "srv:///rng")}, new(channel), resolver.BuildOptions{}); err == nil {
		t.Error("a target without a port was taken")
	}
}

func TestABlankImportIsEnough(t *testing.T) {
	if b := resolver.Get(Scheme); b == nil || b.Scheme() != "srv" {
		t.Errorf("registered is %v", b)
	}
	config, err := Config{}.complete()
	if err != nil || config.MinTTL != 5*time.Second || config.MaxTTL != 5*time.Minute || config.Timeout != 30*time.Second || config.ResolvConf != "/etc/resolv.conf" {
		t.Errorf("%+v, %v", config, err)
	}
	if config, err = (Config{MinTTL: time.Hour}).complete(); err != nil || config.MaxTTL != time.Hour {
		t.Errorf("with a long MinTTL: %+v, %v", config, err)
	}
}
