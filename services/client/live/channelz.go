package live

import (
	"context"

	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	channelzservice "google.golang.org/grpc/channelz/service"
)

// channelz reads gRPC's own records of this process (gRFC A14) without a port: it is the service
// that would be registered at a server.
type channelz struct{ channelzpb.ChannelzServer }

func newChannelz() channelz {
	var c channelz
	channelzservice.RegisterChannelzServiceToServer(&c)

	return c
}

// RegisterService takes the implementation, as a server would.
func (c *channelz) RegisterService(_ *grpc.ServiceDesc, implementation any) {
	c.ChannelzServer, _ = implementation.(channelzpb.ChannelzServer)
}

// states are those of the channel to a target, and of its subchannels by address: "READY",
// "CONNECTING", "TRANSIENT_FAILURE", "IDLE". Of several subchannels to an address the last counts.
func (c *channelz) states(target string) (channel string, subchannels map[string]string) {
	ctx := context.Background() // nothing here waits
	subchannels = map[string]string{}
	for start := int64(0); ; {
		page, err := c.GetTopChannels(ctx, &channelzpb.GetTopChannelsRequest{StartChannelId: start})
		if err != nil {
			return "", nil
		}
		for _, top := range page.GetChannel() {
			start = top.GetRef().GetChannelId() + 1
			if top.GetData().GetTarget() == target {
				channel = stateOf(top.GetData())
				c.below(ctx, top, subchannels)
			}
		}
		if page.GetEnd() || len(page.GetChannel()) == 0 {
			return channel, subchannels
		}
	}
}

// below adds the subchannels of a channel and of the channels in it.
func (c *channelz) below(ctx context.Context, channel *channelzpb.Channel, states map[string]string) {
	for _, ref := range channel.GetSubchannelRef() {
		// One that has gone since is no news.
		if s, err := c.GetSubchannel(ctx, &channelzpb.GetSubchannelRequest{SubchannelId: ref.GetSubchannelId()}); err == nil {
			states[s.GetSubchannel().GetData().GetTarget()] = stateOf(s.GetSubchannel().GetData())
		}
	}
	for _, ref := range channel.GetChannelRef() {
		if inner, err := c.GetChannel(ctx, &channelzpb.GetChannelRequest{ChannelId: ref.GetChannelId()}); err == nil {
			c.below(ctx, inner.GetChannel(), states)
		}
	}
}

func stateOf(data *channelzpb.ChannelData) string { return data.GetState().GetState().String() }
