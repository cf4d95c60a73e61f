// Package databasetest makes small databases for tests.
package databasetest

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Built is when a database was built that does not say otherwise.
var Built = time.Date(2026, time.June, 17, 19, 54, 21, 0, time.UTC)

// Database describes a database. The zero value is one of IPv6 with records of
// 28 bits.
type Database struct {
	// Type is "Test" when empty.
	Type string
	// Built is the package's Built when zero.
	Built time.Time
	// IPVersion is 6 or 4, RecordSize 24, 28 or 32.
	IPVersion, RecordSize int
	// Records are by network, such as "192.0.2.0/24".
	Records map[string]mmdbtype.DataType
}

// Countries is a database with a country for each network.
func Countries(countries map[string]string) Database {
	records := map[string]mmdbtype.DataType{}
	for network, code := range countries {
		records[network] = mmdbtype.Map{"country_code": mmdbtype.String(code)}
	}

	return Database{Type: "Test-Country", Records: records}
}

// Bytes are the contents of the database's file.
func (d Database) Bytes(t testing.TB) []byte {
	t.Helper()
	options := mmdbwriter.Options{
		DatabaseType:            d.Type,
		BuildEpoch:              d.Built.Unix(),
		IPVersion:               d.IPVersion,
		RecordSize:              d.RecordSize,
		IncludeReservedNetworks: true, // the documentation ranges are among them
	}
	if d.Type == "" {
		options.DatabaseType = "Test"
	}
	if d.Built.IsZero() {
		options.BuildEpoch = Built.Unix()
	}
	tree, err := mmdbwriter.New(options)
	if err != nil {
		t.Fatal(err)
	}
	networks := make([]netip.Prefix, 0, len(d.Records))
	records := map[netip.Prefix]mmdbtype.DataType{}
	for cidr, record := range d.Records {
		network := netip.MustParsePrefix(cidr)
		networks = append(networks, network)
		records[network] = record
	}
	// Wide networks first: a later one overwrites what it covers.
	slices.SortFunc(networks, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	for _, network := range networks {
		mask := net.CIDRMask(network.Bits(), network.Addr().BitLen())
		if err := tree.Insert(&net.IPNet{IP: network.Addr().AsSlice(), Mask: mask}, records[network]); err != nil {
			t.Fatalf("%v: %v", network, err)
		}
	}
	var contents bytes.Buffer
	if _, err := tree.WriteTo(&contents); err != nil {
		t.Fatal(err)
	}

	return contents.Bytes()
}

// MaxMindCity is a record as MaxMind's City databases have it, London's.
func MaxMindCity() mmdbtype.Map {
	return mmdbtype.Map{
		"city":      mmdbtype.Map{"geoname_id": mmdbtype.Uint32(2643743), "names": names("London", "Londres")},
		"continent": mmdbtype.Map{"code": mmdbtype.String("EU"), "names": names("Europe", "Europa")},
		"country":   mmdbtype.Map{"iso_code": mmdbtype.String("GB"), "names": names("United Kingdom", "Reino Unido")},
		"location": mmdbtype.Map{
			"accuracy_radius": mmdbtype.Uint16(10),
			"latitude":        mmdbtype.Float64(51.5142),
			"longitude":       mmdbtype.Float64(-0.0931),
			"time_zone":       mmdbtype.String("Europe/London"),
		},
		"postal":             mmdbtype.Map{"code": mmdbtype.String("EC2V")},
		"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("US"), "names": names("United States", "Estados Unidos")},
		"subdivisions": mmdbtype.Slice{
			mmdbtype.Map{"iso_code": mmdbtype.String("ENG"), "names": names("England", "Inglaterra")},
			mmdbtype.Map{"iso_code": mmdbtype.String("LND"), "names": names("City of London", "Ciudad de Londres")},
		},
	}
}

func names(english, spanish string) mmdbtype.Map {
	return mmdbtype.Map{"en": mmdbtype.String(english), "es": mmdbtype.String(spanish)}
}
