package local

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/render"
)

// clientPort is where a client's admin port is, by the name that the manifests give it.
const clientPort = "http-admin"

// newAddress gives a pod its address.
func (e *Environment) newAddress(namespace string) (netip.Addr, func(), error) {
	ns, ok := e.namespaces[namespace]
	if !ok {
		return netip.Addr{}, nil, fmt.Errorf("no namespace %q", namespace)
	}

	return ns.addrs.take()
}

// Client is the admin port of an overlay's client.
func (e *Environment) Client(o *render.Overlay) (string, *http.Client, error) {
	for _, p := range apiserver.List[*corev1.Pod](e.store, o.Namespace) {
		for _, c := range p.Spec.Containers {
			for _, port := range c.Ports {
				if c.Name == "client" && port.Name == clientPort {
					host := net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))

					return "http://" + host, &http.Client{}, nil
				}
			}
		}
	}

	return "", nil, fmt.Errorf("no pod with a container %q and a port %q", "client", clientPort)
}

// podFolder has the pods' logs: NAMESPACE/NAME.log.
func (e *Environment) podFolder() string { return filepath.Join(e.folder.Path, "pods") }

// CopyLogs copies the logs of all pods to a folder.
func (e *Environment) CopyLogs(to string) error {
	logs, err := filepath.Glob(filepath.Join(e.podFolder(), "*", "*.log"))
	if err != nil {
		return err
	}
	for _, from := range logs {
		relative, err := filepath.Rel(e.podFolder(), from)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			return err
		}
	}

	return nil
}

// maxStarts is how often a pod may fail to start before the run is given up: what
// failed twice will not work the third time.
const maxStarts = 2

// failedToStart is an error with the last words of a pod of a Deployment that has ended
// by itself that often.
func (e *Environment) failedToStart(n name) error {
	for _, p := range apiserver.List[*corev1.Pod](e.store, n.namespace) {
		for _, status := range p.Status.ContainerStatuses {
			ended := status.LastTerminationState.Terminated
			if status.Name == n.name && ended != nil && int(status.RestartCount) >= maxStarts-1 {
				return fmt.Errorf("%s/%s exited with status %d: %s",
					p.Namespace, p.Name, ended.ExitCode, strings.Join(strings.Fields(ended.Message), " "))
			}
		}
	}

	return nil
}
