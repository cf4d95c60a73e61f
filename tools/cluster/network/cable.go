//go:build linux

package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cable is the cable from the control plane's bridge to a node. All that goes to or from a
// node or its pods goes through it, but for what stays in the node.
type Cable struct {
	// ControlPlane and Node are processes in the two network namespaces.
	ControlPlane, Node int
	// K is the node's number, which counts from 1.
	K int
}

// end is one end of a cable: a device in the network namespace of a process.
type end struct {
	pid    int
	device string
}

func (c Cable) ends() [2]end {
	return [2]end{{c.Node, nodeDevice}, {c.ControlPlane, bridgePort(c.K)}}
}

// Lose makes each end of the cable throw away so many of 10,000 packets that come in, at random
// (1 to 10,000), until Restore is called with the same name. Who sends is not told, as with a real cable; a
// rule for what goes out would fail his call. Nothing is excepted, not even ARP.
//
// Names of several losses differ, and are words of letters, digits and underscores.
func (c Cable) Lose(ctx context.Context, name string, of10000 int) error {
	for _, e := range c.ends() {
		if err := e.nft(ctx, lossRules(name+"_"+e.device, e.device, of10000)); err != nil {
			return err
		}
	}

	return nil
}

// Restore undoes Lose, or whatever part of it was done.
func (c Cable) Restore(ctx context.Context, name string) error {
	var errs []error
	for _, e := range c.ends() {
		// Adding what is there changes nothing, and so it can be deleted without asking.
		table := "table netdev " + name + "_" + e.device + "\n"
		errs = append(errs, e.nft(ctx, "add "+table+"delete "+table))
	}

	return errors.Join(errs...)
}

func lossRules(table, device string, of10000 int) string {
	return fmt.Sprintf(`table netdev %s {
	chain cable {
		type filter hook ingress device "%s" priority 0; policy accept;
		numgen random mod 10000 <= %d drop
	}
}
`, table, device, of10000-1)
}

// nft makes the program nft read rules, all of which come into force or none does.
func (e end) nft(ctx context.Context, rules string) error {
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(rules)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	// A process starts in the network namespace of the thread that starts it.
	err := Inside(e.pid, command.Start)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		return fmt.Errorf("nft for %s: %w %s", e.device, err, bytes.TrimSpace(output.Bytes()))
	}

	return nil
}

// netemLimit is how many packets can be under way; what is beyond is lost. At 1500 bytes and a
// delay of a second it allows 1.2 Gbit/s.
const netemLimit = 100_000

// Delay makes what goes into either end of the cable take so much longer, until Undelay is
// called. So a round trip takes twice that. Where the kernel lacks netem it fails, and changes
// nothing.
func (c Cable) Delay(by time.Duration) error {
	for _, e := range c.ends() {
		err := e.do(func(n *namespace, link netlink.Link) error {
			return n.link.QdiscAdd(netlink.NewNetem(
				netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
				netlink.NetemQdiscAttrs{Latency: uint32(by.Microseconds()), Limit: netemLimit},
			))
		})
		if errors.Is(err, unix.ENOENT) {
			return errors.New("this kernel cannot delay packets: it has no netem (CONFIG_NET_SCH_NETEM)")
		}
		if err != nil {
			return fmt.Errorf("delay at %s: %w", e.device, err)
		}
	}

	return nil
}

// Undelay undoes Delay, or whatever part of it was done.
func (c Cable) Undelay() error {
	var errs []error
	for _, e := range c.ends() {
		errs = append(errs, e.do(func(n *namespace, link netlink.Link) error {
			all, err := n.link.QdiscList(link)
			if err != nil {
				return err
			}
			for _, one := range all {
				if one.Type() == "netem" {
					return n.link.QdiscDel(one)
				}
			}

			return nil
		}))
	}

	return errors.Join(errs...)
}

// do calls f with the device at this end.
func (e end) do(f func(*namespace, netlink.Link) error) error {
	n, err := enter(e.pid)
	if err != nil {
		return err
	}
	defer n.close()
	link, err := n.link.LinkByName(e.device)
	if err != nil {
		return err
	}

	return f(n, link)
}
