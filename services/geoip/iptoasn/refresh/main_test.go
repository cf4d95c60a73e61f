package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

// file is a member of an npm package.
type file struct {
	name     string
	contents []byte
}

func pack(t *testing.T, files ...file) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	tarred := tar.NewWriter(zipped)
	for _, f := range files {
		if err := tarred.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.contents))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tarred.Write(f.contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := tarred.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}

	return &archive
}

func databaseOf(t *testing.T, built time.Time) []byte {
	t.Helper()
	made := databasetest.Countries(map[string]string{"192.0.2.0/24": "AA"})
	made.Built = built

	return made.Bytes(t)
}

func described(licence string) file {
	return file{"package/package.json", []byte(`{"version": "2.3.1", "license": "` + licence + `", "name": "x"}`)}
}

func TestAPackageGivesItsDatabaseAndItsVersion(t *testing.T) {
	contents := databaseOf(t, databasetest.Built)
	got, err := unpack(pack(t, file{"package/README.md", []byte("x")}, file{member, contents}, described(licence)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "2.3.1" || !bytes.Equal(got.contents, contents) || !got.database.Built.Equal(databasetest.Built) {
		t.Errorf("%+v", got)
	}
}

func TestAPackageThatMayNotBeEmbeddedIsRefused(t *testing.T) {
	good := file{member, databaseOf(t, databasetest.Built)}
	for name, test := range map[string]struct {
		archive *bytes.Buffer
		want    string
	}{
		"another licence": {pack(t, good, described("CC-BY-4.0")), `its licence is "CC-BY-4.0": only PDDL-1.0`},
		"no licence":      {pack(t, good), `its licence is ""`},
		"no database":     {pack(t, described(licence)), "it has no file package/iptoasn-country.mmdb"},
		"broken":          {pack(t, described(licence), file{member, []byte("text")}), "not a MaxMind DB file"},
		"not an archive":  {bytes.NewBufferString("<html>"), "not a gzip file"},
		"bad package.json": {
			pack(t, good, file{"package/package.json", []byte("{")}), "package/package.json: unexpected end of JSON input",
		},
	} {
		if _, err := unpack(test.archive); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestOnlyANewerDatabaseReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	step := func(built time.Time, outcome string, want time.Time) {
		t.Helper()
		next, err := unpack(pack(t, file{member, databaseOf(t, built)}, described(licence)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := replace(path, next, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.String(), path+": "+outcome+"\n") || !strings.Contains(out.String(), `type "Test-Country", built 2026-06-`) {
			t.Errorf("says %q, want %s", out.String(), outcome)
		}
		if contents, err := os.ReadFile(path); err != nil || !bytes.Equal(contents, databaseOf(t, want)) {
			t.Errorf("the file is not that of %v: %v", want, err)
		}
	}
	day := 24 * time.Hour
	step(databasetest.Built, "replaced", databasetest.Built)
	step(databasetest.Built, "is as new already", databasetest.Built)
	step(databasetest.Built.Add(-day), "is as new already", databasetest.Built)
	step(databasetest.Built.Add(day), "replaced", databasetest.Built.Add(day))
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
