// Command client drives rng and geoip at a set rate and reports what became of
// every RPC, or calls one of them once, for people.
//
// How it finds and balances its backends is a target and a service config for
// each of the two, and nothing else.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/evenkeel/evenkeel/internal/config"
)

func program() config.Program {
	return config.Program{
		Name: "client",
		Description: "Drives rng and geoip and reports what became of every RPC; or calls one of them once. " +
			"How backends are found and balanced is said by a target and a gRPC service config.",
		Vars: map[string]string{"addresses": strings.Join(resolvers, ",")},
	}
}

// resolvers are public DNS resolvers (Google, Cloudflare, Quad9, AdGuard, Control D,
// AliDNS), all of which the embedded database of geoip knows.
var resolvers = []string{
	"8.8.8.8", "1.1.1.1", "9.9.9.9", "94.140.14.14", "76.76.2.0", "223.5.5.5",
	"2001:4860:4860::8888", "2606:4700:4700::1111", "2620:fe::fe", "2a10:50c0::ad1:ff", "2606:1a40::",
}

func main() {
	var s settings
	command := config.MustParse(&s, program())
	if err := command.Run(&s.Strategies); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "client: %s\n", strings.TrimSpace(line))
		}
		os.Exit(1)
	}
}
