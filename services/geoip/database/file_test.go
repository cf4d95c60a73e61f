package database

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

const (
	// deadline is far beyond what any test needs: it ends one that hangs.
	deadline = 20 * time.Second
	never    = time.Hour
)

// address is in every database of these tests; its country tells them apart.
var address = netip.MustParseAddr("192.0.2.1")

func contents(t testing.TB, country string) []byte {
	t.Helper()

	return databasetest.Countries(map[string]string{"192.0.2.0/24": country}).Bytes(t)
}

func write(t testing.TB, path string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a new file over an old one.
func replace(t testing.TB, path string, contents []byte) {
	t.Helper()
	write(t, path+".new", contents)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// symlink makes a link, or swaps the one that is there in one step.
func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// watched is a file that is watched until the test ends.
type watched struct {
	*testing.T

	file    *File
	reloads chan error
}

// watch opens a file and watches it, with looks at it so far apart.
func watch(t *testing.T, path string, lookEvery time.Duration) *watched {
	t.Helper()
	file, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file.quiet, file.lookEvery = 30*time.Millisecond, lookEvery
	w := &watched{T: t, file: file, reloads: make(chan error, 100)}
	var watching sync.WaitGroup
	watching.Go(func() {
		file.Watch(t.Context(), slog.New(slog.DiscardHandler), func(err error) { w.reloads <- err })
	})
	t.Cleanup(watching.Wait) // t.Context is done by then
	w.serves("AA")

	return w
}

// reload waits for an attempt and returns its outcome.
func (w *watched) reload() error {
	w.Helper()
	select {
	case err := <-w.reloads:
		return err
	case <-time.After(deadline):
		w.Fatal("the file was not read again")

		return nil
	}
}

func (w *watched) serves(country string) {
	w.Helper()
	got, err := w.file.Current().Lookup(address)
	if err != nil || got.CountryCode != country {
		w.Errorf("serves %q, %v, want %q", got.CountryCode, err, country)
	}
}

func (w *watched) loads(country string) {
	w.Helper()
	if err := w.reload(); err != nil {
		w.Errorf("refused: %v", err)
	}
	w.serves(country)
}

// comesToLoad is loads after a change in more than one step, of which a slow
// machine may see each.
func (w *watched) comesToLoad(country string) {
	w.Helper()
	for w.reload() != nil {
	}
	w.serves(country)
}

func TestAFileIsReadAgainHoweverItIsReplaced(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t testing.TB, path string, contents []byte)
	}{
		{"written in place", write},
		{"renamed over", replace},
		{"removed and made anew", func(t testing.TB, path string, contents []byte) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, contents)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "geo.mmdb")
			write(t, path, contents(t, "AA"))
			// Long ago: the clock of a file system may tick more slowly than this test writes.
			if err := os.Chtimes(path, time.Time{}, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
			w := watch(t, path, never)
			for _, country := range []string{"BB", "CC"} {
				test.change(t, path, contents(t, country))
				w.comesToLoad(country)
			}
		})
	}
}

// The kubelet mounts a ConfigMap as links: geo.mmdb -> ..data/geo.mmdb, and
// ..data -> ..2026_06_17, of which it swaps the second.
func TestAFileIsReadAgainWhenKubernetesUpdatesItsVolume(t *testing.T) {
	folder := t.TempDir()
	mount := func(version, country string) {
		if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, version, "geo.mmdb"), contents(t, country))
		symlink(t, version, filepath.Join(folder, "..data"))
	}
	mount("..2026_06_17", "AA")
	path := filepath.Join(folder, "geo.mmdb")
	symlink(t, filepath.Join("..data", "geo.mmdb"), path)

	w := watch(t, path, never)
	mount("..2026_06_18", "BB")
	w.loads("BB")
	if err := os.RemoveAll(filepath.Join(folder, "..2026_06_17")); err != nil {
		t.Fatal(err)
	}
	mount("..2026_06_19", "CC")
	w.loads("CC")
}

// Nobody tells of a link that is swapped above the folder, or of a change on a
// network file system.
func TestAFileIsLookedAtWhenNobodyTellsOfAChange(t *testing.T) {
	folder := t.TempDir()
	for version, country := range map[string]string{"v1": "AA", "v2": "BB"} {
		if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, version, "geo.mmdb"), contents(t, country))
	}
	current := filepath.Join(folder, "current")
	symlink(t, "v1", current)
	w := watch(t, filepath.Join(current, "geo.mmdb"), 5*time.Millisecond)
	symlink(t, "v2", current)
	w.loads("BB")
}

func TestABrokenFileIsRefusedAndTheVersionBeforeServesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	write(t, path, contents(t, "AA"))
	w := watch(t, path, never)

	good := contents(t, "BB")
	for name, broken := range map[string][]byte{
		"a text": []byte("not a database"), "nothing": nil, "half": good[:len(good)/2],
		"no records": databasetest.Database{}.Bytes(t),
	} {
		replace(t, path, broken)
		err := w.reload()
		if err == nil || !strings.HasPrefix(err.Error(), "database "+path+": ") {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
		w.serves("AA")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := w.reload(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	w.serves("AA")

	replace(t, path, good)
	w.loads("BB")
}

func TestAFileIsReadOnceForAChangeAndNotForOthersInItsFolder(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "geo.mmdb")
	write(t, path, contents(t, "AA"))
	w := watch(t, path, time.Millisecond) // looking often must not read again either
	for range 20 {
		write(t, filepath.Join(folder, "other"), []byte("x"))
	}
	replace(t, path, []byte("broken"))
	if err := w.reload(); err == nil {
		t.Error("a broken file was taken")
	}
	replace(t, path, contents(t, "BB"))
	w.loads("BB")
	if n := len(w.reloads); n != 0 {
		t.Errorf("the file was read %d times too often", n)
	}
}

func TestAChangeBeforeTheWatchIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	write(t, path, contents(t, "AA"))
	file, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file.quiet, file.lookEvery = time.Millisecond, never
	replace(t, path, contents(t, "BB"))
	w := &watched{T: t, file: file, reloads: make(chan error, 1)}
	var watching sync.WaitGroup
	watching.Go(func() {
		file.Watch(t.Context(), slog.New(slog.DiscardHandler), func(err error) { w.reloads <- err })
	})
	t.Cleanup(watching.Wait)
	w.loads("BB")
}

func TestLookupsGoOnWhileTheDatabaseIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	write(t, path, contents(t, "AA"))
	w := watch(t, path, never)

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			held := w.file.Current() // a version that is held on to stays good
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, db := range []*Database{held, w.file.Current()} {
					if got, err := db.Lookup(address); err != nil || len(got.CountryCode) != 2 {
						t.Errorf("%+v, %v", got, err)

						return
					}
				}
			}
		})
	}
	for _, country := range []string{"BB", "CC", "DD", "EE"} {
		replace(t, path, []byte("broken"))
		if err := w.reload(); err == nil {
			t.Error("a broken file was taken")
		}
		replace(t, path, contents(t, country))
		w.loads(country)
	}
	close(stop)
	readers.Wait()
}

func TestAFileThatCannotBeReadIsAnErrorThatNamesIt(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(folder, "broken")
	write(t, broken, []byte("text"))
	for path, want := range map[string]string{
		filepath.Join(folder, "absent"): "no such file or directory",
		folder:                          "not a regular file",
		pipe:                            "not a regular file",
		broken:                          "not a MaxMind DB file",
	} {
		_, err := OpenFile(path)
		if err == nil || !strings.HasPrefix(err.Error(), "database "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
