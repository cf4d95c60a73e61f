//go:build linux

package sandbox

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

const (
	etcd             = "http://127.0.0.1:2379"
	etcdPeers        = "http://127.0.0.1:2380"
	containerdSocket = "/run/containerd/containerd.sock"
)

// controlPlane are the components of the control plane, in the order they need.
func controlPlane() []component {
	apiServerReady := healthy(network.APIServer + "/readyz")

	return []component{
		{
			name: "etcd",
			args: []string{
				"--data-dir", path.Join(run, ControlPlane, "etcd"),
				// It need not outlive the machine, only its own process.
				"--unsafe-no-fsync",
				"--listen-client-urls", etcd, "--advertise-client-urls", etcd,
				"--listen-peer-urls", etcdPeers, "--initial-advertise-peer-urls", etcdPeers,
				"--initial-cluster", "default=" + etcdPeers,
			},
			ready: healthy(etcd + "/readyz"),
		},
		{
			name: "kube-apiserver",
			args: []string{
				"--etcd-servers=" + etcd,
				"--advertise-address=" + network.ControlPlane,
				"--secure-port=6443",
				"--service-cluster-ip-range=" + network.Services,
				"--allow-privileged",
				"--authorization-mode=Node,RBAC",
				"--enable-admission-plugins=NodeRestriction",
				"--client-ca-file=" + path.Join(keys, "ca.crt"),
				"--tls-cert-file=" + path.Join(keys, "apiserver.crt"),
				"--tls-private-key-file=" + path.Join(keys, "apiserver.key"),
				"--kubelet-client-certificate=" + path.Join(keys, "apiserver-kubelet-client.crt"),
				"--kubelet-client-key=" + path.Join(keys, "apiserver-kubelet-client.key"),
				// Names of nodes are in no DNS.
				"--kubelet-preferred-address-types=InternalIP",
				"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
				"--service-account-key-file=" + path.Join(keys, "sa.pub"),
				"--service-account-signing-key-file=" + path.Join(keys, "sa.key"),
			},
			ready: apiServerReady,
		},
		{
			name: "kube-controller-manager",
			args: []string{
				"--kubeconfig=" + path.Join(keys, "controller-manager.kubeconfig"),
				// There is only one, and the lease of one that was killed would be
				// waited out.
				"--leader-elect=false",
				"--use-service-account-credentials",
				"--root-ca-file=" + path.Join(keys, "ca.crt"),
				"--service-account-private-key-file=" + path.Join(keys, "sa.key"),
				"--service-cluster-ip-range=" + network.Services,
				// The default of 20 a second would be what a test measures.
				"--kube-api-qps=500", "--kube-api-burst=1000",
			},
			// Started before, it takes the API server's first refusals for lasting
			// ones and backs off for seconds.
			before: apiServerReady,
			ready:  healthy("https://127.0.0.1:10257/healthz"),
		},
		{
			name:   "kube-scheduler",
			args:   []string{"--kubeconfig=" + path.Join(keys, "scheduler.kubeconfig"), "--leader-elect=false"},
			before: apiServerReady,
			ready:  healthy("https://127.0.0.1:10259/healthz"),
		},
	}
}

// node are the components of a node, in the order they need.
func node(spec Spec) []component {
	return []component{
		{
			name:  "containerd",
			args:  []string{"--config", spec.dir("containerd.toml")},
			ready: listening(containerdSocket),
			after: func(ctx context.Context, s *supervisor) error {
				return s.importImages(ctx, SystemImages...)
			},
		},
		{
			name: "kubelet",
			args: []string{
				"--config=" + spec.dir("kubelet.yaml"),
				"--kubeconfig=" + path.Join(keys, "kubelet-"+spec.Name+".kubeconfig"),
				"--root-dir=/var/lib/kubelet",
				"--hostname-override=" + spec.Name,
				"--node-ip=" + network.NodeAddress(spec.Node),
				"--node-labels=topology.kubernetes.io/zone=" + spec.Zone + ",topology.kubernetes.io/region=here",
			},
			// It would back off, too.
			before: healthy(network.APIServer + "/readyz"),
			ready:  healthy("http://127.0.0.1:10248/healthz"),
		},
		{
			name:  "kube-proxy",
			args:  []string{"--config=" + spec.dir("kube-proxy.yaml")},
			ready: healthy("http://127.0.0.1:10256/healthz"),
		},
	}
}

// healthy is the condition that a URL answers with 200.
func healthy(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{
		// The question is whether it is there. Nothing is told to it, and some of
		// these certificates are signed by their holders.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}}

	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}

		return nil
	}
}

// listening is the condition that something accepts connections on a Unix socket.
func listening(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}

		return conn.Close()
	}
}
