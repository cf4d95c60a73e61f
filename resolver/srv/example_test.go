package srv_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/resolver/srv"
)

// A channel to all servers behind a name. In a cluster, the blank import of the package
// is enough and there is no grpc.WithResolvers: resolv.conf says whom to ask.
func Example() {
	nameserver, stop := world()
	defer stop()

	conn, err := grpc.NewClient("srv:///rng-headless.example.:grpc",
		grpc.WithResolvers(srv.NewBuilder(srv.Config{Server: nameserver})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		fmt.Println(err)

		return
	}
	defer func() { _ = conn.Close() }()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)

	// Output: SERVING <nil>
}

// A flag's value is looked at before it is used: gRPC would only fail the first RPC.
func ExampleParseTarget() {
	for _, text := range []string{"srv:///rng-headless:grpc", "srv://rng-headless/grpc"} {
		target, err := url.Parse(text)
		if err != nil {
			fmt.Println(err)

			continue
		}
		parsed, err := srv.ParseTarget(*target)
		if err != nil {
			fmt.Println(err)

			continue
		}
		fmt.Println("port", parsed.Port, "of", parsed.Name)
	}
	// Output:
	// port grpc of rng-headless
	// srv: target "srv://rng-headless/grpc": authority "rng-headless": want none, as in srv:///name:port-name (three slashes)
}

// world is a DNS server with one SRV record, and the gRPC server that it names.
func world() (nameserver string, stop func()) {
	var running sync.WaitGroup
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	backend := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(backend, health.NewServer())
	running.Go(func() { _ = backend.Serve(listener) })
	port := listener.Addr().(*net.TCPAddr).Port

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	names := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.Authoritative = true
		record, _ := dns.NewRR(fmt.Sprintf("_grpc._tcp.rng-headless.example. 30 IN SRV 0 100 %d pod-1.example.", port))
		address, _ := dns.NewRR("pod-1.example. 30 IN A 127.0.0.1")
		reply.Answer, reply.Extra = []dns.RR{record}, []dns.RR{address}
		_ = w.WriteMsg(reply)
	})}
	started := make(chan struct{})
	names.NotifyStartedFunc = func() { close(started) }
	running.Go(func() { _ = names.ActivateAndServe() })
	<-started

	return packets.LocalAddr().String(), func() {
		backend.Stop()
		_ = names.Shutdown()
		running.Wait()
	}
}
