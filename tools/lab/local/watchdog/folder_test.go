package watchdog

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestTheSweepTakesOnlyAbandonedFolders(t *testing.T) {
	parent := t.TempDir()
	mine, err := newFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	abandoned, err := newFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	abandoned.lock.Close()
	elsewhere := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(abandoned.Path, "log"), []byte("x"), 0o600),
		os.Mkdir(filepath.Join(parent, "other"), 0o700),
		os.WriteFile(filepath.Join(parent, "evenkeel-lab-file"), nil, 0o600),
		os.Symlink(elsewhere, filepath.Join(parent, "evenkeel-lab-link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	removed, err := Sweep(parent)

	if err != nil || len(removed) != 1 || removed[0] != abandoned.Path {
		t.Errorf("swept %v, %v; want only %s", removed, err, abandoned.Path)
	}
	for _, path := range []string{
		mine.Path, filepath.Join(parent, "other"), filepath.Join(parent, "evenkeel-lab-file"),
		filepath.Join(parent, "evenkeel-lab-link"), elsewhere,
	} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("swept too much: %v", err)
		}
	}
	if err := mine.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(mine.Path); err == nil {
		t.Error("its owner could not remove the folder")
	}
}

func TestAFolderThatWasMadeIsThereWhoeverSweepsMeanwhile(t *testing.T) {
	parent := t.TempDir()
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := Sweep(parent); err != nil {
					t.Error(err)

					return
				}
			}
		}
	})
	for range 200 {
		folder, err := newFolder(parent)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder.Path, "log"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := folder.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sweeper.Wait()
}

func TestASweepOfNothingSaysWhatIsMissing(t *testing.T) {
	if _, err := Sweep(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}
