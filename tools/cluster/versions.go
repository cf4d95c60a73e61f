//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"strings"

	"golang.org/x/mod/modfile"
)

// go.mod is where the versions of the components are stated, and nowhere else.
//
//go:embed go.mod
var goMod []byte

const (
	kubernetesModule = "k8s.io/kubernetes"
	containerdModule = "github.com/containerd/containerd/v2"
	etcdModule       = "go.etcd.io/etcd/server/v3"
	corednsModule    = "github.com/coredns/coredns"
)

// versions are those of the modules that a go.mod requires, such as v1.36.3.
func versions(file []byte) (map[string]string, error) {
	mod, err := modfile.Parse("go.mod", file, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range mod.Require {
		out[r.Mod.Path] = r.Mod.Version
	}
	for _, module := range []string{kubernetesModule, containerdModule, etcdModule, corednsModule} {
		if out[module] == "" {
			return nil, fmt.Errorf("go.mod: does not require %s", module)
		}
	}

	return out, nil
}

// linkerFlags tell the components their versions, as the makefiles of their own projects
// do. Without that they say v0.0.0, and kubelet and API server compare theirs.
func linkerFlags(versions map[string]string) string {
	kubernetes := versions[kubernetesModule]
	number := strings.SplitN(strings.TrimPrefix(kubernetes, "v"), ".", 3)
	values := []string{
		"k8s.io/component-base/version.gitVersion=" + kubernetes,
		"k8s.io/component-base/version.gitMajor=" + number[0],
		"k8s.io/component-base/version.gitMinor=" + number[1],
		"k8s.io/component-base/version.gitTreeState=clean",
		"k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z",
		"k8s.io/client-go/pkg/version.gitVersion=" + kubernetes,
		containerdModule + "/version.Version=" + strings.TrimPrefix(versions[containerdModule], "v"),
	}

	return "-s -w -X " + strings.Join(values, " -X ")
}

// corednsImage is the name of CoreDNS' image on the nodes.
func corednsImage(versions map[string]string) string {
	return "evenkeel.test/coredns:" + versions[corednsModule]
}
