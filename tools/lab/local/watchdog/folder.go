package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folderPrefix begins the name of every run's folder.
const folderPrefix = "evenkeel-lab-"

// Folder is the folder of one run. It is locked for as long as the process that made it lives: the kernel lets go of
// a flock when the last copy of its file descriptor is closed, and exec closes the copies of children.
type Folder struct {
	// Path is absolute.
	Path string
	lock *os.File
}

// TempDir makes the folder of a run, evenkeel-lab-*, in [os.TempDir].
func TempDir() (*Folder, error) { return newFolder(os.TempDir()) }

func newFolder(parent string) (*Folder, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	for {
		path, err := os.MkdirTemp(parent, folderPrefix+"*")
		if err != nil {
			return nil, fmt.Errorf("make the run's folder: %w", err)
		}
		lock, err := lockFolder(path, 0)
		if err == nil {
			return &Folder{Path: path, lock: lock}, nil
		}
		// Between the making and the locking another lab's Sweep may have taken it for a leftover.
		if !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("make the run's folder: %w", err), os.Remove(path))
		}
	}
}

// Remove removes the folder, if the watchdog has not already, and lets go of its lock.
func (f *Folder) Remove() error {
	return errors.Join(os.RemoveAll(f.Path), f.lock.Close())
}

// Sweep removes the folders in parent that were left by runs that no longer live, and returns their paths. Those of
// others are left alone: of runs that live, and of other users.
func Sweep(parent string) (removed []string, err error) {
	found, err := os.ReadDir(parent)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	var failures []error
	for _, entry := range found {
		path := filepath.Join(parent, entry.Name())
		if !strings.HasPrefix(entry.Name(), folderPrefix) || !ours(path) {
			continue
		}
		lock, err := lockFolder(path, syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, os.ErrNotExist):
			continue // a run that lives; or another lab sweeps too
		case err != nil:
			failures = append(failures, fmt.Errorf("sweep: %w", err))
			continue
		}
		if err := errors.Join(os.RemoveAll(path), lock.Close()); err != nil {
			failures = append(failures, fmt.Errorf("sweep: %w", err))
			continue
		}
		removed = append(removed, path)
	}

	return removed, errors.Join(failures...)
}

// ours reports whether path is a real folder that belongs to this user: the parent is usually open to everyone.
func ours(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)

	return ok && int(owner.Uid) == os.Geteuid()
}

// lockFolder locks the folder at path for this process alone. The error is os.ErrNotExist if path does not lead to
// the locked folder (any more).
func lockFolder(path string, flags int) (*os.File, error) {
	lock, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(lock, syscall.LOCK_EX|flags); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
	}
	if _, err := os.Lstat(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}

	return lock, nil
}

// flock takes the lock, however often a signal interrupts the wait.
func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
