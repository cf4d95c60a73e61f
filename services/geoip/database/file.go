package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long a changed file must stay as it is before it is read, so that
	// one that is still being written is left alone.
	quiet = 250 * time.Millisecond
	// lookEvery is how often the file is looked at whether or not the system has
	// told of a change. It finds what notification cannot: changes on network
	// file systems, and a folder or a symbolic link swapped further up in the path.
	lookEvery = 10 * time.Second
)

// File is a database in a file, read again by Watch when the file changes.
type File struct {
	path    string
	current atomic.Pointer[Database]
	// read is the file as it was when it was last read, with success or not; nil
	// when it could not be. Watch alone touches it after OpenFile.
	read os.FileInfo

	quiet, lookEvery time.Duration
}

// OpenFile reads a database from a file.
func OpenFile(path string) (*File, error) {
	f := &File{path: path, quiet: quiet, lookEvery: lookEvery}
	if err := f.load(); err != nil {
		return nil, err
	}

	return f, nil
}

// Current is the newest version that could be read. Whoever holds an older one may
// go on using it.
func (f *File) Current() *Database { return f.current.Load() }

// Watch reads the file again whenever it changes, until ctx is done. It sees a
// file written in place, one renamed over the old one, and a swapped
// symbolic link, which is how Kubernetes updates a mounted ConfigMap or Secret.
// After each attempt it calls reloaded; with an error, the version before goes on
// serving.
func (f *File) Watch(ctx context.Context, logger *slog.Logger, reloaded func(error)) {
	var events chan fsnotify.Event
	var errs chan error
	if watcher, err := f.notify(); err == nil {
		defer watcher.Close() //nolint:errcheck // there is nothing left to lose
		events, errs = watcher.Events, watcher.Errors
	} else {
		// Nodes run out of inotify instances; that must not cost the service.
		logger.Warn("no notification of changes: looking at the database file instead",
			"path", f.path, "every", f.lookEvery, "error", err)
	}
	look := time.NewTicker(f.lookEvery)
	defer look.Stop()
	settled := time.NewTimer(f.quiet)
	defer settled.Stop()

	last := f.read
	for {
		// The file counts, not the events, most of which are about something else. The
		// first look comes before any event: the file may have changed by then.
		if now := f.stat(); !same(now, last) {
			last = now
			settled.Reset(f.quiet)
		}
		select {
		case <-ctx.Done():
			return
		case <-events:
		case err := <-errs:
			logger.Warn("watching the database file", "path", f.path, "error", err)
		case <-look.C:
		case <-settled.C:
			if now := f.stat(); same(now, last) && !same(now, f.read) {
				reloaded(f.load())
			}
		}
	}
}

// notify watches the folder, for a watch on the file itself would stay with the
// old one when another takes its name.
func (f *File) notify() (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if err := watcher.Add(filepath.Dir(f.path)); err != nil {
		_ = watcher.Close()

		return nil, fmt.Errorf("watch: %w", err)
	}

	return watcher, nil
}

// stat follows symbolic links. It returns nil for a file that is not there.
func (f *File) stat() os.FileInfo {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil
	}

	return info
}

// same says whether two looks saw the same file with the same contents. The mode
// counts because a file may become readable.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}

	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// load reads the file and, if it is good, makes it the current version.
func (f *File) load() error {
	contents, err := f.contents()
	if err != nil {
		return fmt.Errorf("database %s: %w", f.path, err)
	}
	next, err := Open(contents)
	if err != nil {
		return fmt.Errorf("database %s: %w", f.path, err)
	}
	if f.current.Swap(next) != nil {
		// The version before is garbage by now or soon. Without a push its memory
		// would stay with the process for minutes, and the next reload come on top.
		debug.FreeOSMemory()
	}

	return nil
}

// contents reads the file and notes as what it was read.
func (f *File) contents() ([]byte, error) {
	f.read = nil
	// Opening a pipe would wait for somebody to write to it.
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		f.read = info

		return nil, errors.New("not a regular file")
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	f.read = info
	contents := make([]byte, info.Size())
	if _, err := io.ReadFull(file, contents); err != nil {
		return nil, fmt.Errorf("reading its %d bytes: %w", len(contents), withoutPath(err))
	}

	return contents, nil
}

// withoutPath takes the path out of an error of package os; the caller says it.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}

	return err
}
