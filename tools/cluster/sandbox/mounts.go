//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// hidden are folders of the machine that a kubelet, containerd or a CNI plugin writes to
// whatever it is configured to do. Each is covered by an empty one in memory, so
// that nothing lands on the machine and the sandboxes do not see one another's locks
// and sockets. It also keeps the machine's own containerd, systemd and the like away.
var hidden = []string{"/run", "/tmp", "/var/lib", "/var/log"}

// sysctls are settings of the whole machine that a kubelet wants to be so, and else sets.
// It is shown files with the values it wants: the machine stays as it is.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

func mountAll(spec Spec) error {
	// From here on nothing that is mounted is seen outside, nor the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Taken hold of before it may be hidden: it can be anywhere, also below /tmp.
	tree, err := unix.OpenTree(unix.AT_FDCWD, spec.Home, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open %s (needs Linux 5.2 or later): %w", spec.Home, err)
	}
	defer func() { _ = unix.Close(tree) }()
	for _, dir := range hidden {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("cover %s: %w", dir, err)
		}
	}
	if err := os.Chmod("/tmp", 0o1777|fs.ModeSticky); err != nil {
		return err
	}
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, home, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s at %s: %w", spec.Home, home, err)
	}

	// The process namespace is new, and /proc shows the one it was mounted in.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := coverSysctls(); err != nil {
		return err
	}
	if spec.Node > 0 {
		// These two are worth a disk: volumes, and the logs of pods.
		for _, dir := range []string{"/var/lib/kubelet", "/var/log/pods"} {
			if err := bind(spec.dir(path.Base(dir)), dir); err != nil {
				return err
			}
		}
	}

	// A kubelet hands mounts on to pods, and gets those of pods back, only where they
	// are shared. They are so among ourselves.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}

	return nil
}

func coverSysctls() error {
	covers := "/run/sysctl"
	if err := os.Mkdir(covers, 0o755); err != nil {
		return err
	}
	for name, value := range sysctls {
		file := path.Join("/proc/sys", name)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without it
		}
		cover := path.Join(covers, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(cover, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		if err := unix.Mount(cover, file, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", file, err)
		}
	}

	return nil
}

func bind(from, to string) error {
	for _, dir := range []string{from, to} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}

	return nil
}
