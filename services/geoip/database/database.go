// Package database answers where an IP address is from a file of the MaxMind DB
// format, whoever published it: MaxMind, DB-IP, ip-location-db, IPinfo, ….
//
// The whole file is held in memory on the heap, not mapped. It costs its size
// (5 MB for the default, 60-140 MB for a database of cities), twice while a new
// version is being read. In return nothing can go wrong that a mapping can:
// a file cut short in place is not a SIGBUS, and a version that was replaced lives
// for as long as somebody reads it, because the garbage collector counts for us.
package database

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"
)

// ErrNotFound is what Lookup returns for an address that the database has no
// record for. That is normal for a part of the addresses, all private ones among
// them.
var ErrNotFound = errors.New("no record")

// Database is one version of a database. It does not change and is safe for
// concurrent use.
type Database struct {
	// Type is what the database calls itself, such as "GeoLite2-City".
	Type string
	// Built is when it was built.
	Built time.Time
	// Size is that of the file, in bytes.
	Size int
	// Records counts the different records. Most stand for many networks.
	Records int

	reader *maxminddb.Reader
	v4Only bool
}

// Result is the answer for an address.
type Result struct {
	Record
	// Network is the widest network around the address that has the same record.
	Network netip.Prefix
}

// Open reads a database from the contents of its file, which must not change from
// then on. It checks the whole of it (see check), so that what can be wrong with a
// file is found here and not by a caller of Lookup.
func Open(contents []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(contents)
	if err != nil {
		return nil, fmt.Errorf("not a MaxMind DB file: %w", err)
	}
	if err := checkMetadata(reader.Metadata); err != nil {
		return nil, err
	}
	records, err := check(contents, reader)
	if err != nil {
		return nil, err
	}

	return &Database{
		Type:    reader.Metadata.DatabaseType,
		Built:   reader.Metadata.BuildTime().UTC(),
		Size:    len(contents),
		Records: records,
		reader:  reader,
		v4Only:  reader.Metadata.IPVersion == 4,
	}, nil
}

// decoders keeps decoders between lookups. They would all be on the heap, for the
// reader takes them as an interface.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Lookup finds an address. An IPv4-mapped IPv6 address is looked up as IPv4; a zone
// is ignored. It returns ErrNotFound when there is no record. Any other error
// means that the database is damaged, which Open rules out.
func (d *Database) Lookup(address netip.Addr) (Result, error) {
	address = address.Unmap()
	if d.v4Only && !address.Is4() {
		return Result{}, ErrNotFound
	}
	found := d.reader.Lookup(address)
	if !found.Found() {
		if err := found.Err(); err != nil {
			return Result{}, fmt.Errorf("look up %v: %w", address, err)
		}

		return Result{}, ErrNotFound
	}
	into, _ := decoders.Get().(*decoder) // the pool holds nothing else
	defer decoders.Put(into)
	if err := found.Decode(into); err != nil {
		return Result{}, fmt.Errorf("look up %v: %w", address, err)
	}

	return Result{Record: into.record, Network: found.Prefix()}, nil
}

// lastBuild is the end of the year 9999: the last moment that
// google.protobuf.Timestamp can name.
const lastBuild = 253402300799

// checkMetadata refuses what the rest of this package does not expect.
func checkMetadata(m maxminddb.Metadata) error {
	switch {
	case m.BinaryFormatMajorVersion != 2:
		return fmt.Errorf("format version %d is not known: it must be 2", m.BinaryFormatMajorVersion)
	case m.IPVersion != 4 && m.IPVersion != 6:
		return fmt.Errorf("ip_version %d is not known: it must be 4 or 6", m.IPVersion)
	case m.RecordSize != 24 && m.RecordSize != 28 && m.RecordSize != 32:
		return fmt.Errorf("record_size %d is not known: it must be 24, 28 or 32 bits", m.RecordSize)
	case m.NodeCount == 0 || m.NodeCount > math.MaxUint32:
		return fmt.Errorf("node_count %d is not that of a search tree", m.NodeCount)
	case m.BuildEpoch > lastBuild:
		return fmt.Errorf("build_epoch %d is after the year 9999", m.BuildEpoch)
	case !utf8.ValidString(m.DatabaseType):
		return fmt.Errorf("database_type %q is not UTF-8", m.DatabaseType)
	}

	return nil
}
