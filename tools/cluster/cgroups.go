//go:build linux

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupName is the name of the group that all the cluster's pods are in. Clusters in
// different folders have different ones.
func (c *cluster) cgroupName() string {
	return fmt.Sprintf("evenkeel-%x", sha256.Sum256([]byte(c.home)))[:len("evenkeel-")+8]
}

// nodeCgroup is the path of a node's group, as a kubelet is told it.
func (c *cluster) nodeCgroup(node string) string { return "/" + c.cgroupName() + "/" + node }

// hierarchies are the folders below which groups are made: one with version 2 of cgroups,
// one for each controller with version 1.
func hierarchies() ([]string, bool, error) {
	if exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		return []string{cgroupRoot}, true, nil
	}
	controllers, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	if err != nil {
		return nil, false, err
	}
	var out []string
	for _, file := range controllers {
		// "cpu,cpuacct" is one hierarchy, and often has links called "cpu" and "cpuacct".
		hierarchy, err := filepath.EvalSymlinks(filepath.Dir(file))
		if err != nil {
			return nil, false, err
		}
		if !slices.Contains(out, hierarchy) {
			out = append(out, hierarchy)
		}
	}
	if len(out) == 0 {
		return nil, false, fmt.Errorf("%s: no cgroups are mounted there", cgroupRoot)
	}

	return out, false, nil
}

// makeCgroups makes a group for each node: a kubelet makes groups below the one it is given,
// but not that.
func (c *cluster) makeCgroups(nodes []string) error {
	roots, unified, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		prepare := inheritCPUs
		if unified {
			prepare = delegate
		}
		for _, node := range nodes {
			parent := root
			for _, name := range []string{c.cgroupName(), node} {
				group := filepath.Join(parent, name)
				if err := os.MkdirAll(group, 0o755); err != nil {
					return err
				}
				if err := prepare(parent, group); err != nil {
					return err
				}
				parent = group
			}
		}
	}

	return nil
}

// inheritCPUs lets a new group use the processors of its parent: with version 1 a new group
// may use none, and no process can be moved into it.
func inheritCPUs(parent, group string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller's hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, name), value, 0o644); err != nil {
			return fmt.Errorf("%s of %s: %w", name, group, err)
		}
	}

	return nil
}

// delegate hands the parent's controllers on to its children, which with version 2 has to be
// said. A controller that cannot be handed on is left; the kubelet names those it misses.
func delegate(parent, _ string) error {
	available, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	control := filepath.Join(parent, "cgroup.subtree_control")
	enabled, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(available)) {
		if !slices.Contains(strings.Fields(string(enabled)), controller) {
			_ = os.WriteFile(control, []byte("+"+controller), 0o644)
		}
	}

	return nil
}

// freezer is the hierarchy that can freeze.
func freezer() (root string, unified bool, err error) {
	if exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		return cgroupRoot, true, nil
	}
	root = filepath.Join(cgroupRoot, "freezer")
	if !exists(root) {
		return "", false, fmt.Errorf("%s: cgroups are mounted without their freezer", cgroupRoot)
	}

	return root, false, nil
}

// freeze lets all processes in groups stand still, and in those below them.
func freeze(groups []string) error {
	root, unified, err := freezer()
	if err != nil {
		return err
	}
	file, value, report, reported := "freezer.state", "FROZEN", "freezer.state", "FROZEN"
	if unified {
		file, value, report, reported = "cgroup.freeze", "1", "cgroup.events", "frozen 1"
	}
	for _, group := range groups {
		group = filepath.Join(root, group)
		err := within(5*time.Second, func() error {
			// Again and again: version 1 may miss a process that is just starting another.
			if err := os.WriteFile(filepath.Join(group, file), []byte(value), 0); err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(group, report))
			if err == nil && !strings.Contains(string(text), reported) {
				err = fmt.Errorf("%s does not freeze", group)
			}

			return err
		})
		if err != nil {
			return err
		}
	}

	return nil
}

// thaw undoes freeze. What is in a group that was frozen by itself stays so.
func thaw(groups []string) error {
	root, unified, err := freezer()
	if err != nil {
		return err
	}
	file, value := "freezer.state", "THAWED"
	if unified {
		file, value = "cgroup.freeze", "0"
	}
	for _, group := range groups {
		err := os.WriteFile(filepath.Join(root, group, file), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have gone meanwhile
			return err
		}
	}

	return nil
}

// thawAll lets go of everything that a fault or a test has frozen: what is frozen cannot be
// killed.
func (c *cluster) thawAll() error {
	return c.eachCgroup(func(group string) error {
		for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			err := os.WriteFile(filepath.Join(group, file), []byte(value), 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}

		return nil
	})
}

// removeCgroups removes the groups, which have no processes any more. The kernel takes a
// moment to notice the last.
func (c *cluster) removeCgroups(patience time.Duration) error {
	return within(patience, func() error { return c.eachCgroup(syscall.Rmdir) })
}

// eachCgroup calls do for each of the cluster's groups, children before parents.
func (c *cluster) eachCgroup(do func(group string) error) error {
	roots, _, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		var groups []string
		err := filepath.WalkDir(filepath.Join(root, c.cgroupName()), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // no such group, or gone since
			}
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}

			return err
		})
		if err != nil {
			return err
		}
		for _, group := range slices.Backward(groups) {
			if err := do(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cgroup %s: %w", group, err)
			}
		}
	}

	return nil
}
