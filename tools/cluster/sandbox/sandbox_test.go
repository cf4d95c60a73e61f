//go:build linux

package sandbox

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/yaml"
)

func TestEveryConfigurationIsFilledIn(t *testing.T) {
	files, err := render(settings{
		Spec: Spec{Name: "node2", Node: 2, ProxyMode: "iptables", Cgroup: "/evenkeel-1234/node2", PluginDir: "/usr/lib/cni"},
		Dir:  "/run/cluster/run/node2", PodRange: "198.18.2.0/24", Pods: "198.18.0.0/16", DNS: "203.0.113.10",
		Keys: keys, Pause: PauseImage, Runc: "/usr/sbin/runc",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if strings.Contains(string(text), "<no value>") {
			t.Errorf("%s has a gap:\n%s", name, text)
		}
		if strings.HasSuffix(name, ".toml") {
			continue // containerd reads it, and says when it is wrong
		}
		var fields map[string]any
		if err := yaml.UnmarshalStrict(text, &fields); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"kubelet.yaml":        "cgroupRoot: /evenkeel-1234/node2\n",
		"kube-proxy.yaml":     "mode: iptables\n",
		"cni/10-ptp.conflist": `"subnet": "198.18.2.0/24"`,
		"containerd.toml":     `sandbox = "evenkeel.test/pause:1"`,
	} {
		if !strings.Contains(string(files[name]), want) {
			t.Errorf("%s lacks %q:\n%s", name, want, files[name])
		}
	}
}

func TestAConditionIsWaitedForUntilItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		err := until(t.Context(), nil, func(context.Context) error {
			if looks++; looks < 5 {
				return errors.New("not yet")
			}

			return nil
		})
		if err != nil || looks != 5 {
			t.Errorf("%d looks, %v", looks, err)
		}
	})
}

func TestTheWaitEndsWithTheProcessThatItIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &process{done: make(chan struct{}), end: 3 << 8}
		time.AfterFunc(time.Second, func() { close(p.done) })
		err := until(t.Context(), p, func(context.Context) error { return errors.New("refused") })
		if err == nil || err.Error() != "ended: exit status 3" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAWaitThatIsCutShortSaysWhatWasMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := until(ctx, nil, func(context.Context) error { return errors.New("connection refused") })
		if err == nil || err.Error() != "not ready: connection refused" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAKilledComponentIsReportedAsSuch(t *testing.T) {
	p := &process{pid: 7, done: make(chan struct{}), end: 9}
	close(p.done)
	s := newSupervisor(Spec{Name: "node1"}, []component{{name: "kubelet"}, {name: "kube-proxy"}})
	s.state["kubelet"] = p
	got := s.status(t.Context())
	want := []Component{{Name: "kubelet", Problem: "ended: killed"}, {Name: "kube-proxy", Problem: "not started"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestOnlyOKIsHealthy(t *testing.T) {
	status := http.StatusServiceUnavailable
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	ready := healthy(server.URL)
	if err := ready(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v", err)
	}
	status = http.StatusOK
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASandboxOutsideItsNamespacesIsRefused(t *testing.T) {
	// What it would mount would be mounted on the machine.
	if err := Main(strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "cluster up") {
		t.Errorf("got %v", err)
	}
}
