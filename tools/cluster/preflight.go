//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// requirement is a program that is not built here, and the package that has it, which is
// called the same on Debian, Ubuntu and most others.
type requirement struct{ program, pkg string }

func requirements(proxyMode string) []requirement {
	// What kube-proxy calls.
	proxy := requirement{"nft", "nftables"}
	if proxyMode == "iptables" {
		proxy = requirement{"iptables", "iptables"}
	}

	return []requirement{
		{"runc", "runc"},
		{"mount", "mount"}, // the kubelet calls it
		proxy,
	}
}

// pluginDirs are where distributions and the project itself put the CNI plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// pluginDir is the first of them that has the two plugins we use.
func pluginDir(exists func(string) bool) (string, bool) {
	for _, dir := range pluginDirs {
		if exists(filepath.Join(dir, "ptp")) && exists(filepath.Join(dir, "host-local")) {
			return dir, true
		}
	}

	return "", false
}

// preflight looks for all that is needed beforehand, and names all that is missing at once.
func preflight(proxyMode string) error {
	if os.Geteuid() != 0 {
		return errors.New(`root is needed, for namespaces and mounts: sudo env "PATH=$PATH" cluster …`)
	}
	var missing []string
	for _, r := range requirements(proxyMode) {
		if _, err := exec.LookPath(r.program); err != nil {
			missing = append(missing, r.pkg)
		}
	}
	if _, ok := pluginDir(exists); !ok {
		missing = append(missing, "containernetworking-plugins")
	}
	if len(missing) > 0 {
		return errors.New(installation(missing))
	}

	return nil
}

func installation(missing []string) string {
	packages := strings.Join(missing, " ")

	return fmt.Sprintf("missing: %s; on Debian and its kin this installs it:\n  sudo apt-get install --no-install-recommends -y %s", packages, packages)
}

func exists(path string) bool {
	_, err := os.Stat(path)

	return err == nil
}
