//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// container is one that containerd runs on a node.
type container struct {
	pod podName
	// sandbox is true for the one that holds the pod's namespaces and runs nothing but pause.
	sandbox bool
	cgroup  string
}

// bundles is the pattern of the files that tell what containerd runs on a node. They are read,
// rather than containerd or the API server asked, since these may be what stands still.
func (m member) bundles() string {
	return fmt.Sprintf("/proc/%d/root/run/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json", m.PID)
}

// containers are those of a node.
func (m member) containers() ([]container, error) {
	files, err := filepath.Glob(m.bundles())
	if err != nil {
		return nil, err
	}
	var out []container
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just ended
		}
		if err != nil {
			return nil, err
		}
		one, err := parseContainer(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, one)
	}

	return out, nil
}

// parseContainer reads what containerd tells runc about a container: the OCI's config.json with
// the annotations of containerd's CRI plugin.
func parseContainer(config []byte) (container, error) {
	var spec struct {
		Annotations map[string]string
		Linux       struct{ CgroupsPath string }
	}
	if err := json.Unmarshal(config, &spec); err != nil {
		return container{}, err
	}
	const prefix = "io.kubernetes.cri."
	out := container{
		pod:     podName{spec.Annotations[prefix+"sandbox-namespace"], spec.Annotations[prefix+"sandbox-name"]},
		sandbox: spec.Annotations[prefix+"container-type"] == "sandbox",
		cgroup:  spec.Linux.CgroupsPath,
	}
	if out.pod.namespace == "" || out.pod.name == "" || !path.IsAbs(out.cgroup) {
		return container{}, errors.New("not a container of a pod")
	}

	return out, nil
}

// pod finds the node and the containers of a pod.
func (r *record) pod(name podName) (int, []container, error) {
	var all []container
	for k := 1; k <= r.Nodes; k++ {
		here, err := r.Members[k].containers()
		if err != nil {
			return 0, nil, err
		}
		if found := of(here, name); len(found) > 0 {
			return k, found, nil
		}
		all = append(all, here...)
	}

	return 0, nil, unknownPod(name, all)
}

func of(all []container, pod podName) []container {
	var out []container
	for _, one := range all {
		if one.pod == pod {
			out = append(out, one)
		}
	}

	return out
}

// unknownPod names the pods there are: of the namespace, or of all if it has none.
func unknownPod(name podName, all []container) error {
	var near, far []string
	for _, one := range all {
		far = append(far, one.pod.String())
		if one.pod.namespace == name.namespace {
			near = append(near, one.pod.String())
		}
	}
	known := near
	if len(near) == 0 {
		known = far
	}
	if len(known) == 0 {
		return fmt.Errorf("pod %q: no pod runs", name)
	}
	slices.Sort(known)

	return fmt.Errorf("pod %q: not one of those that run: %s", name, strings.Join(slices.Compact(known), ", "))
}

// podCgroups are the cgroups that have those of the containers in them.
func podCgroups(containers []container) []string {
	var out []string
	for _, one := range containers {
		if group := path.Dir(one.cgroup); !slices.Contains(out, group) {
			out = append(out, group)
		}
	}

	return out
}

// kill ends every process of a pod's containers, but for the sandbox, and waits until they have
// ended.
func kill(containers []container) error {
	root, _, err := freezer() // any hierarchy does; this one is needed anyway
	if err != nil {
		return err
	}
	killed := false
	err = within(5*time.Second, func() error {
		left := 0
		for _, one := range containers {
			if one.sandbox {
				continue
			}
			// Again and again, for one may have started another meanwhile.
			processes, err := os.ReadFile(filepath.Join(root, one.cgroup, "cgroup.procs"))
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				continue // all have ended
			}
			if err != nil {
				return err
			}
			for text := range strings.FieldsSeq(string(processes)) {
				pid, err := strconv.Atoi(text)
				if err != nil {
					return err
				}
				if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
					return err
				}
				killed = true
				left++
			}
		}
		if left > 0 {
			return fmt.Errorf("%d processes were killed and have not ended, which is so when they are frozen", left)
		}

		return nil
	})
	if err == nil && !killed {
		return errors.New("none of its containers runs just now")
	}

	return err
}
