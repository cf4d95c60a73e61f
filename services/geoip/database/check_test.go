package database_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

// small has records of 24 bits, so that node n is at byte 6n.
func small(t testing.TB) []byte {
	made := databasetest.Countries(map[string]string{"192.0.2.0/24": "AA", "2001:db8::/32": "BB"})
	made.RecordSize = 24

	return made.Bytes(t)
}

// point makes both children of a node of 24-bit records a pointer.
func point(contents []byte, node, pointer int) {
	child := []byte{byte(pointer >> 16), byte(pointer >> 8), byte(pointer)}
	copy(contents[6*node:], append(child, child...))
}

// swap replaces the last occurrence of a text by one of the same length.
func swap(contents []byte, before, after string) {
	copy(contents[bytes.LastIndex(contents, []byte(before)):], after)
}

func TestABrokenDatabaseIsRefusedWithWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name string
		make func() []byte
		want string
	}{
		{"nothing", func() []byte { return nil }, "not a MaxMind DB file"},
		{"a text", func() []byte { return []byte("country,code\n") }, "not a MaxMind DB file"},
		{"an HTML page instead of a download", func() []byte { return []byte("<html>404</html>") }, "not a MaxMind DB file"},
		{"the first half", func() []byte { c := small(t); return c[:len(c)/2] }, "not a MaxMind DB file"},
		{"the second half", func() []byte { c := small(t); return c[len(c)/2:] }, "not a MaxMind DB file"},
		{"metadata cut short", func() []byte { c := small(t); return c[:len(c)-20] }, "not a MaxMind DB file"},
		{"a format that is to come", func() []byte {
			c := small(t)
			swap(c, "binary_format_major_version\xa1\x02", "binary_format_major_version\xa1\x03")

			return c
		}, "format version 3 is not known"},
		{"an unknown IP version", func() []byte {
			c := small(t)
			swap(c, "ip_version\xa1\x06", "ip_version\xa1\x05")

			return c
		}, "ip_version 5 is not known"},
		{"a type that is not UTF-8", func() []byte {
			c := small(t)
			swap(c, "Test-Country", "Test-Coun\xffry")

			return c
		}, `database_type "Test-Coun\xffry" is not UTF-8`},
		{"no networks", func() []byte { return databasetest.Database{}.Bytes(t) }, "no record has a country"},
		{"records without a field that is read", func() []byte {
			return databasetest.Database{Records: map[string]mmdbtype.DataType{
				"192.0.2.0/24": mmdbtype.Map{"is_anonymous": mmdbtype.Bool(true)},
			}}.Bytes(t)
		}, "no record has a country, a city, a position or an autonomous system"},
		{"records that are not maps", func() []byte {
			return databasetest.Database{Records: map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.String("AA")}}.Bytes(t)
		}, "no record has a country"},
		{"a record that is not UTF-8", func() []byte {
			return databasetest.Countries(map[string]string{"192.0.2.0/24": "A\xff"}).Bytes(t)
		}, `"A\xff" is not UTF-8`},
		{"a record cut off by the metadata", func() []byte {
			c := small(t)
			swap(c, "\x42AA", "\x5dAA") // a string of 29 bytes and more

			return c
		}, "record at "},
		{"a text that is longer than any", func() []byte {
			return databasetest.Countries(map[string]string{"192.0.2.0/24": strings.Repeat("A", 2000)}).Bytes(t)
		}, "record at "},
		{"a record with too many fields", func() []byte {
			record := mmdbtype.Map{"country_code": mmdbtype.String("AA")}
			for i := range 5000 {
				record[mmdbtype.String(strings.Repeat("x", i%100)+string(rune('a'+i/100)))] = mmdbtype.Bool(true)
			}

			return databasetest.Database{Records: map[string]mmdbtype.DataType{"192.0.2.0/24": record}}.Bytes(t)
		}, "more than 4096 entries"},
		{"a node below itself", func() []byte { c := small(t); point(c, 5, 5); return c }, "search tree: node 5 is below itself"},
		{"a node below one of its children", func() []byte { c := small(t); point(c, 5, 2); return c }, "is below itself"},
		{"a path longer than an address", func() []byte {
			// 130 nodes, each above the next, the last one above nothing.
			made := databasetest.Countries(map[string]string{"2001:db8::/128": "AA", "192.0.2.1/32": "AA"})
			made.RecordSize = 24
			c := made.Bytes(t)
			for node := range 130 {
				point(c, node, node+1)
			}

			return c
		}, "longer than an address"},
		{"a pointer into the separator", func() []byte {
			c := small(t)
			point(c, 5, nodes(t, c)+3)

			return c
		}, "leads out of the data"},
		{"a pointer beyond the end", func() []byte { c := small(t); point(c, 5, 1<<24-1); return c }, "leads out of the data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := database.Open(test.make())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

// nodes counts the nodes of a tree of 24-bit records: 16 zero bytes follow it.
func nodes(t testing.TB, contents []byte) int {
	t.Helper()
	for n := 1; 6*n+16 < len(contents); n++ {
		// Behind the separator begins a map of one entry.
		if bytes.Equal(contents[6*n:6*n+16], make([]byte, 16)) && contents[6*n+16] == 0xe1 {
			return n
		}
	}
	t.Fatal("found no data section")

	return 0
}

// probes are addresses at the edges of everything.
var probes = []netip.Addr{
	netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("255.255.255.255"),
	netip.MustParseAddr("::"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:192.0.2.1"),
	netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2002:c000:201::"),
	netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
}

// A database is either refused or answers: Open leaves nothing for Lookup to
// stumble on, and a caller can put what it gets into a protobuf message.
func FuzzDatabase(f *testing.F) {
	city := databasetest.Database{Records: map[string]mmdbtype.DataType{
		"192.0.2.0/24": databasetest.MaxMindCity(), "2001:db8::/32": databasetest.MaxMindCity(),
	}}.Bytes(f)
	country := small(f)
	v4 := databasetest.Countries(map[string]string{"192.0.2.0/24": "AA"})
	v4.IPVersion, v4.RecordSize = 4, 32
	for _, whole := range [][]byte{city, country, v4.Bytes(f)} {
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
		f.Add(whole[1:])
	}
	// One damaged byte at a time, all over a small file.
	for at := 0; at < len(country); at += 7 {
		damaged := bytes.Clone(country)
		damaged[at] ^= 0xff
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		db, err := database.Open(contents)
		if err != nil {
			return
		}
		for _, address := range probes {
			got, err := db.Lookup(address)
			if errors.Is(err, database.ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatalf("%v: %v", address, err)
			}
			if !got.Network.IsValid() {
				t.Errorf("%v: network %v", address, got.Network)
			}
			for _, text := range []string{got.CountryCode, got.CountryName, got.City, got.Subdivision, got.PostalCode, got.TimeZone, got.ASOrganization} {
				if !utf8.ValidString(text) {
					t.Errorf("%v: %q", address, text)
				}
			}
		}
	})
}
