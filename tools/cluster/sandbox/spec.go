// Package sandbox is the inside of the cluster: what runs as process 1 of the control
// plane's and of each node's namespaces. It arranges the file system, starts the
// components in order, waits until each serves, collects what has ended, and answers
// questions about them. When it is killed, the kernel ends everything in its process
// namespace, and with the last process go the mounts and the network.
package sandbox

import (
	"path"
)

// Where a sandbox finds the cluster's folder, whatever it is called outside. Short and
// fixed, so that the configuration has no paths of the machine in it and the sockets
// are within the 108 bytes that a socket's path may have.
const (
	home   = "/run/cluster"
	bin    = home + "/bin"
	images = home + "/images"
	run    = home + "/run"
	keys   = run + "/pki"
	logs   = run + "/log"
)

// Port is where a sandbox answers, on 127.0.0.1 of its own network.
const Port = 10240

// PauseImage is the image of the process that holds a pod's namespaces. It is loaded into
// every node under this name.
const PauseImage = "evenkeel.test/pause:1"

// SystemImages are the tarballs in the folder images that each node has from the start.
var SystemImages = []string{"pause.tar", "coredns.tar"}

// ControlPlane is the name of the sandbox of the control plane.
const ControlPlane = "control-plane"

// Spec says what a sandbox is to be.
type Spec struct {
	// Name is ControlPlane or the node's name. The sandbox has it for a host name.
	Name string
	// Home is the cluster's folder outside, with bin, images and run in it.
	Home string
	// Node counts nodes from 1; 0 is the control plane.
	Node int
	// Zone is the node's topology.kubernetes.io/zone.
	Zone string
	// ProxyMode is kube-proxy's: nftables or iptables.
	ProxyMode string
	// Cgroup is the path of the node's cgroup, below the root of each hierarchy.
	Cgroup string
	// PluginDir is the folder of the CNI plugins.
	PluginDir string
}

// dir is the sandbox's own folder, which is kept on disk as long as the cluster runs.
func (s Spec) dir(elements ...string) string {
	return path.Join(append([]string{run, s.Name}, elements...)...)
}
