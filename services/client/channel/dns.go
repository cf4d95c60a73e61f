package channel

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/dns"

	"github.com/evenkeel/evenkeel/resolver/srv"
)

// DNS says how names are looked up, in the whole process.
type DNS struct {
	// Server is the host and port that is asked instead of the system's name servers;
	// "" leaves those.
	Server string
	// MinResolutionInterval is the least time between two look-ups of a name by the
	// dns scheme. gRPC does not poll: it looks a name up again when a connection
	// breaks, and then not before this has passed.
	MinResolutionInterval time.Duration
}

// Validate is an error when Server is not a host and a port.
func (d DNS) Validate() error {
	if d.Server == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(d.Server)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return fmt.Errorf("%q is not a host and port: give an address such as 10.96.0.10:53", d.Server)
	}

	return nil
}

// Apply makes it so. It is to be called before the first channel is made: gRPC's
// settings are global.
func (d DNS) Apply() {
	dns.SetMinResolutionInterval(d.MinResolutionInterval)
	resolver.Register(srv.NewBuilder(srv.Config{Server: d.Server}))
	net.DefaultResolver = d.resolver()
}

// resolver is what gRPC's dns scheme looks names up with.
func (d DNS) resolver() *net.Resolver {
	r := &net.Resolver{
		// A look-up is many queries: A and AAAA, for each name of the search list. Go takes a
		// denial of one for the answer even when another has failed, and gRPC then gives up all
		// the addresses it has. So a client that looked a name up while the DNS servers came
		// back lost every connection. With this, the look-up fails, and the addresses stay.
		StrictErrors: true,
	}
	if d.Server != "" {
		r.PreferGo = true // the system's own asks whom it likes
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer

			return dialer.DialContext(ctx, network, d.Server)
		}
	}

	return r
}
