// Package network makes the cluster's network: a network namespace for the control
// plane, with a bridge in it that stands for the cable, and one for each node,
// plugged into it. There is no link to the machine's own network and no default route,
// so nothing gets out and nothing gets in.
package network

import (
	"fmt"
	"net"
)

// The addresses are from ranges that are no one's: RFC 5737 keeps 192.0.2.0/24 and
// 203.0.113.0/24 for documentation, RFC 2544 keeps 198.18.0.0/15 for benchmarks. Should
// a packet get out by a mistake, no one would answer it.
const (
	// ControlPlane is the address of the control plane.
	ControlPlane = "192.0.2.1"
	// APIServer is the URL of the API server inside the cluster's network.
	APIServer = "https://" + ControlPlane + ":6443"
	// Pods is the range that all pods are in; PodRange is a node's share.
	Pods = "198.18.0.0/16"
	// Services is the range of the ClusterIPs.
	Services = "203.0.113.0/24"
	// Kubernetes is the first address of it, which the API server takes for the
	// Service "kubernetes".
	Kubernetes = "203.0.113.1"
	// DNS is the ClusterIP of CoreDNS.
	DNS = "203.0.113.10"

	nodePrefix = 24
	// MaxNodes there can be: a limit of good sense more than of the addresses.
	MaxNodes = 8
)

// NodeAddress is the address of node k, which counts from 1.
func NodeAddress(k int) string { return fmt.Sprintf("192.0.2.%d", 10+k) }

// PodRange is what the pods of node k have their addresses from.
func PodRange(k int) string { return fmt.Sprintf("198.18.%d.0/24", k) }

func ipnet(cidr string) *net.IPNet {
	ip, ipnet, err := net.ParseCIDR(cidr)
	if err != nil {
		panic(err) // the constants above are wrong
	}
	ipnet.IP = ip

	return ipnet
}

func withPrefix(ip string, prefix int) string { return fmt.Sprintf("%s/%d", ip, prefix) }
