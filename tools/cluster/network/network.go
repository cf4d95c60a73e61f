//go:build linux

package network

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Connect puts links, addresses and routes into the network namespaces of the process
// controlPlane and of the processes nodes, in which there is nothing yet.
func Connect(controlPlane int, nodes []int) error {
	hub, err := enter(controlPlane)
	if err != nil {
		return fmt.Errorf("network of the control plane: %w", err)
	}
	defer hub.close()
	if err := hub.bridge(); err != nil {
		return fmt.Errorf("network of the control plane: %w", err)
	}
	for i, pid := range nodes {
		if err := connectNode(hub, pid, i+1, len(nodes)); err != nil {
			return fmt.Errorf("network of node %d: %w", i+1, err)
		}
	}

	return nil
}

func connectNode(hub *namespace, pid, k, nodes int) error {
	node, err := enter(pid)
	if err != nil {
		return err
	}
	defer node.close()
	if err := hub.plug(node, k); err != nil {
		return err
	}
	if err := node.up("lo"); err != nil {
		return err
	}
	if err := node.address(nodeDevice, withPrefix(NodeAddress(k), nodePrefix)); err != nil {
		return err
	}

	// A ClusterIP is rewritten to a pod's address by kube-proxy's rules, but the
	// kernel looks for a route before that, and without one it gives up. So there
	// has to be one; where it leads to does not matter.
	if err := node.route(Services, ControlPlane); err != nil {
		return err
	}
	for j := 1; j <= nodes; j++ {
		if j == k {
			// Each pod that lives has a route of its own (the CNI plugin ptp adds
			// it). The rest of the range is refused at once, as by a real network
			// that knows its neighbours, and does not run into a timeout.
			err = node.unreachable(PodRange(j))
		} else {
			err = node.route(PodRange(j), NodeAddress(j))
		}
		if err != nil {
			return err
		}
	}

	// The API server reaches into pods when it proxies to them.
	return hub.route(PodRange(k), NodeAddress(k))
}

// namespace is a network namespace with a netlink socket that was opened in it.
type namespace struct {
	handle netns.NsHandle
	link   *netlink.Handle
}

func enter(pid int) (*namespace, error) {
	handle, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, err
	}
	link, err := netlink.NewHandleAt(handle)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w (after %w)", err, handle.Close())
	}

	return &namespace{handle, link}, nil
}

func (n *namespace) close() {
	n.link.Close()
	_ = n.handle.Close() // only the file descriptor; the namespace is its processes'
}

// nodeDevice is a node's end of its cable; bridgePort is the other, at the bridge.
const (
	bridgeName = "br0"
	nodeDevice = "eth0"
)

func bridgePort(k int) string { return fmt.Sprintf("node%d", k) }

func (n *namespace) bridge() error {
	if err := n.up("lo"); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	if err := n.link.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}

	return n.address(bridgeName, withPrefix(ControlPlane, nodePrefix))
}

// plug lays a cable, which is a pair of veth devices, from the bridge to a node.
func (n *namespace) plug(node *namespace, k int) error {
	bridge, err := n.link.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgePort(k)
	attrs.MasterIndex = bridge.Attrs().Index
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: nodeDevice, PeerNamespace: netlink.NsFd(int(node.handle))}
	if err := n.link.LinkAdd(cable); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}

	return n.up(attrs.Name)
}

func (n *namespace) address(device, cidr string) error {
	link, err := n.link.LinkByName(device)
	if err != nil {
		return err
	}
	if err := n.link.AddrAdd(link, &netlink.Addr{IPNet: ipnet(cidr)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", cidr, device, err)
	}

	return n.up(device)
}

func (n *namespace) up(device string) error {
	link, err := n.link.LinkByName(device)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	if err := n.link.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", device, err)
	}

	return nil
}

func (n *namespace) route(to, via string) error {
	return n.add(netlink.Route{Dst: ipnet(to), Gw: net.ParseIP(via)})
}

func (n *namespace) unreachable(to string) error {
	return n.add(netlink.Route{Dst: ipnet(to), Type: unix.RTN_UNREACHABLE})
}

func (n *namespace) add(r netlink.Route) error {
	if err := n.link.RouteAdd(&r); err != nil {
		return fmt.Errorf("add route to %s: %w", r.Dst, err)
	}

	return nil
}
