//go:build linux

package sandbox

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path"
	"text/template"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

//go:embed config
var config embed.FS

// settings is what the files in config are filled in with.
type settings struct {
	Spec

	Dir, PodRange, Pods, DNS, Keys, Pause, Runc string
}

// prepareNode writes what the components of a node are configured by.
func prepareNode(spec Spec) error {
	// The node is the router of its pods.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(spec.dir("cni"), 0o755); err != nil {
		return err
	}
	files, err := render(settings{
		Spec: spec, Dir: spec.dir(), PodRange: network.PodRange(spec.Node), Pods: network.Pods,
		DNS: network.DNS, Keys: keys, Pause: PauseImage, Runc: runc,
	})
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(spec.dir(name), text, 0o644); err != nil {
			return err
		}
	}

	return nil
}

// render fills in the files of the folder config. The CNI configuration goes into a
// folder of its own, because containerd reads all there is in it.
func render(s settings) (map[string][]byte, error) {
	files := map[string]string{
		"containerd.toml":     "containerd.toml",
		"kubelet.yaml":        "kubelet.yaml",
		"kube-proxy.yaml":     "kube-proxy.yaml",
		"cni/10-ptp.conflist": "ptp.conflist",
	}
	out := map[string][]byte{}
	for to, from := range files {
		t, err := template.New(from).Option("missingkey=error").ParseFS(config, path.Join("config", from))
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, s); err != nil {
			return nil, fmt.Errorf("fill in %s: %w", from, err)
		}
		out[to] = text.Bytes()
	}

	return out, nil
}
