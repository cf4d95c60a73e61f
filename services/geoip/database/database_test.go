package database_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnAddressIsFoundInTheNetworkThatHasIt(t *testing.T) {
	countries := map[string]string{
		"0.0.0.0/1": "AA", "192.0.2.0/25": "BB", "203.0.113.7/32": "CC",
		"2001:db8::/32": "DD", "2001:db8::1/128": "EE", "ff00::/8": "FF",
	}
	for _, size := range []int{24, 28, 32} {
		made := databasetest.Countries(countries)
		made.RecordSize = size
		db, err := database.Open(made.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if db.Records != len(countries) || db.Type != "Test-Country" || !db.Built.Equal(databasetest.Built) {
			t.Errorf("%d bits: %+v", size, db)
		}
		for _, test := range []struct{ address, country, network string }{
			{"8.8.8.8", "AA", "0.0.0.0/1"},
			{"::ffff:8.8.8.8", "AA", "0.0.0.0/1"},
			{"192.0.2.127", "BB", "192.0.2.0/25"},
			{"192.0.2.128", "", ""},
			{"203.0.113.7", "CC", "203.0.113.7/32"},
			{"203.0.113.6", "", ""},
			{"10.0.0.1", "AA", "0.0.0.0/1"},
			{"192.168.0.1", "", ""},
			{"2001:db8:0:0:ffff::", "DD", "2001:db8:0:0:8000::/65"},
			{"2001:db8::1", "EE", "2001:db8::1/128"},
			{"ffff::", "FF", "ff00::/8"},
			{"2001:db9::", "", ""},
			{"::ffff:192.168.0.1", "", ""},
		} {
			got, err := db.Lookup(netip.MustParseAddr(test.address))
			switch {
			case test.country == "":
				if !errors.Is(err, database.ErrNotFound) {
					t.Errorf("%d bits: %s: %+v, %v, want ErrNotFound", size, test.address, got, err)
				}
			case err != nil:
				t.Errorf("%d bits: %s: %v", size, test.address, err)
			case got.CountryCode != test.country || got.Network != netip.MustParsePrefix(test.network):
				t.Errorf("%d bits: %s: %+v, want %s in %s", size, test.address, got, test.country, test.network)
			}
		}
	}
}

func TestADatabaseOfOneAddressFamilyDoesNotKnowTheOther(t *testing.T) {
	v4 := databasetest.Countries(map[string]string{"192.0.2.0/24": "AA"})
	v4.IPVersion = 4
	v6 := databasetest.Countries(map[string]string{"2001:db8::/32": "AA"})
	for _, test := range []struct {
		made          databasetest.Database
		known, absent string
	}{
		{v4, "192.0.2.1", "2001:db8::1"},
		{v6, "2001:db8::1", "192.0.2.1"},
	} {
		db, err := database.Open(test.made.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Lookup(netip.MustParseAddr(test.known)); err != nil {
			t.Errorf("%s: %v", test.known, err)
		}
		if _, err := db.Lookup(netip.MustParseAddr(test.absent)); !errors.Is(err, database.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", test.absent, err)
		}
	}
}

func TestABuildTimeIsReadToTheSecond(t *testing.T) {
	made := databasetest.Countries(map[string]string{"192.0.2.0/24": "AA"})
	made.Built = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)
	db, err := database.Open(made.Bytes(t))
	if err != nil || !db.Built.Equal(made.Built) {
		t.Errorf("%+v, %v", db, err)
	}
}

func BenchmarkLookup(b *testing.B) {
	city := databasetest.Database{Records: map[string]mmdbtype.DataType{"192.0.2.0/24": databasetest.MaxMindCity()}}
	for _, bench := range []struct {
		name string
		made databasetest.Database
	}{
		{"country", databasetest.Countries(map[string]string{"192.0.2.0/24": "AA"})},
		{"city", city},
	} {
		b.Run(bench.name, func(b *testing.B) {
			db, err := database.Open(bench.made.Bytes(b))
			if err != nil {
				b.Fatal(err)
			}
			address := netip.MustParseAddr("192.0.2.1")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.Lookup(address); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
