package srv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// serve is a real DNS server on one port of 127.0.0.1, for UDP and TCP.
func serve(t testing.TB, h dns.HandlerFunc) (addr string) {
	t.Helper()
	packets, listener := listen(t)
	var running, started sync.WaitGroup
	both := []*dns.Server{{PacketConn: packets}, {Listener: listener}}
	for _, server := range both {
		server.Handler = h
		started.Add(1)
		server.NotifyStartedFunc = started.Done
		running.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	t.Cleanup(func() {
		for _, server := range both {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
		}
		running.Wait()
	})

	return packets.LocalAddr().String()
}

// listen finds a port that is free for both.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener
		}
		listener.Close()
	}
}

// manyPods answers with n pods, and cuts the answer to what the client takes.
func manyPods(n int) dns.HandlerFunc {
	var lines []string
	for i := range n {
		host := fmt.Sprintf("10-244-%d-%d.rng-headless.dns-srv.svc.cluster.local.", i/256, i%256)
		lines = append(lines, fmt.Sprintf("%s 30 IN SRV 0 %d 8081 %s", whole, max(1, 100/n), host), fmt.Sprintf("%s 30 IN A 10.244.%d.%d", host, i/256, i%256))
	}
	answer := zone(lines...)

	return func(w dns.ResponseWriter, query *dns.Msg) {
		reply := answer("", query)
		limit := dns.MaxMsgSize
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			limit = dns.MinMsgSize
			if edns := query.IsEdns0(); edns != nil {
				limit = int(edns.UDPSize())
				reply.SetEdns0(1232, false)
			}
		}
		reply.Truncate(limit)
		_ = w.WriteMsg(reply)
	}
}

func overNetwork(addrs ...string) *servers {
	return &servers{settings: settings{servers: addrs, timeout: 5 * time.Second, attempts: 1}, exchange: exchangeOverNetwork}
}

func TestLargeAnswersComeWhole(t *testing.T) {
	for _, count := range []int{1, 10, 100, 600} {
		reply, err := overNetwork(serve(t, manyPods(count))).ask(t.Context(), whole, dns.TypeSRV)
		if err != nil || len(reply.Answer) != count {
			t.Errorf("%d: %v", count, err)
		}
	}
}

func TestAnAnswerThatNoDNSMessageHoldsIsAFailure(t *testing.T) {
	_, err := overNetwork(serve(t, manyPods(1000))).ask(t.Context(), whole, dns.TypeSRV)
	if err == nil || !strings.Contains(err.Error(), "the answer is larger than a DNS message can be (64 KB)") {
		t.Error(err)
	}
}

func TestTheNextRealServerIsAskedWhenOneIsDeadOrBroken(t *testing.T) {
	const dead = "127.0.0.1:1"
	broken := serve(t, func(w dns.ResponseWriter, query *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(query, dns.RcodeServerFailure))
	})
	mute := serve(t, func(dns.ResponseWriter, *dns.Msg) {})
	s := overNetwork(dead, broken, mute, serve(t, manyPods(3)))
	s.timeout = time.Second // which the last of them has, too
	if reply, err := s.ask(t.Context(), whole, dns.TypeSRV); err != nil || len(reply.Answer) != 3 {
		t.Error(err)
	}
	if _, err := overNetwork(dead).ask(t.Context(), whole, dns.TypeSRV); !errors.Is(err, errUnanswered) {
		t.Error(err)
	}
}

func TestAnExchangeEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{}, 1)
	mute := serve(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	for _, network := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := exchangeOverNetwork(ctx, network, mute, new(dns.Msg).SetQuestion(whole, dns.TypeSRV))
			ended <- err
		}()
		<-asked
		cancel()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: an answer", network)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it goes on", network)
		}
	}
}

// wrongs are packets that are not the answer to the query.
func wrongs(t testing.TB, query *dns.Msg) map[string][]byte {
	t.Helper()
	pack := func(change func(*dns.Msg)) []byte {
		reply := manyPodsReply(query)
		change(reply)
		packet, err := reply.Pack()
		if err != nil {
			t.Fatal(err)
		}

		return packet
	}
	whole := pack(func(*dns.Msg) {})
	lost := append([]byte(nil), whole...)
	binary.BigEndian.PutUint16(lost[6:], 9)

	return map[string][]byte{
		"nothing":                          {},
		"a few bytes":                      {1, 2, 3},
		"noise":                            []byte(strings.Repeat("noise", 20)),
		"another id":                       pack(func(m *dns.Msg) { m.Id++ }),
		"another name":                     pack(func(m *dns.Msg) { m.Question[0].Name = "other.test." }),
		"another type":                     pack(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }),
		"no question":                      pack(func(m *dns.Msg) { m.Question = nil }),
		"two questions":                    pack(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"a query":                          pack(func(m *dns.Msg) { m.Response = false }),
		"another kind of message":          pack(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
		"half a record":                    whole[:len(whole)-5],
		"fewer records than it says":       lost,
		"a header and a question":          whole[:12+len(query.Question[0].Name)+1+4],
		"an NXDOMAIN without its question": pack(func(m *dns.Msg) { m.Question, m.Answer, m.Rcode = nil, nil, dns.RcodeNameError }),
	}
}

func manyPodsReply(query *dns.Msg) *dns.Msg { return pods("30", "10.1.0.1", "10.1.0.2")("", query) }

func TestPacketsThatAreNotTheAnswerArePassedOver(t *testing.T) {
	// Over UDP anybody may send them: the true answer comes after all of them.
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		buffer := make([]byte, 4096)
		n, client, err := packets.ReadFrom(buffer)
		query := new(dns.Msg)
		if err != nil || query.Unpack(buffer[:n]) != nil {
			t.Error("no query came")

			return
		}
		for _, packet := range wrongs(t, query) {
			_, _ = packets.WriteTo(packet, client)
		}
		right, _ := manyPodsReply(query).Pack()
		_, _ = packets.WriteTo(right, client)
	})
	defer serving.Wait()
	defer packets.Close()
	reply, err := overNetwork(packets.LocalAddr().String()).ask(t.Context(), whole, dns.TypeSRV)
	if err != nil || len(reply.Answer) != 2 {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestOverTCPWhatIsNotTheAnswerIsAFailure(t *testing.T) {
	query := new(dns.Msg).SetQuestion(whole, dns.TypeSRV)
	for name, packet := range wrongs(t, query) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)

				return
			}
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
			// Until the client hangs up, or its query would make a reset of our close.
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		})
		if reply, err := exchangeOverNetwork(t.Context(), "tcp", listener.Addr().String(), query); err == nil {
			t.Errorf("%s was taken for %v", name, reply)
		}
		serving.Wait()
		listener.Close()
	}
}

func TestARefusalWithoutTheQuestionIsOne(t *testing.T) {
	query := new(dns.Msg).SetQuestion(whole, dns.TypeSRV)
	refusal := new(dns.Msg).SetRcode(query, dns.RcodeRefused)
	refusal.Question = nil
	packet, err := refusal.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := readReply(packet, query); err != nil || informs(reply) == nil {
		t.Errorf("%v, %v", reply, err)
	}
}
