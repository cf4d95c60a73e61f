package main

import (
	"slices"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	channelz "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/evenkeel/evenkeel/internal/inspect/inspecttest"
)

func TestTheInspectPortShowsTheChannelsAndXDSAndHoldsNothingUp(t *testing.T) {
	port, address := inspecttest.FreePort(t)
	target := serve(t)
	p := start(t, "--rng-target="+target, "--inspect-port="+port)
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	channels, err := channelz.NewChannelzClient(conn).GetTopChannels(t.Context(), &channelz.GetTopChannelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(channels.GetChannel(), func(c *channelz.Channel) bool { return c.GetData().GetTarget() == target }) {
		t.Errorf("%s is not among %v", target, channels)
	}
	onlooker, err := reflection.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := onlooker.Send(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := onlooker.Recv()
	if err != nil {
		t.Fatal(err)
	}
	const csds = "envoy.service.status.v3.ClientStatusDiscoveryService"
	services := answer.GetListServicesResponse().GetService()
	if !slices.ContainsFunc(services, func(s *reflection.ServiceResponse) bool { return s.GetName() == csds }) {
		t.Errorf("CSDS is not among %v", services)
	}

	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if _, err := onlooker.Recv(); err == nil {
		t.Error("the inspect port goes on")
	}
}
