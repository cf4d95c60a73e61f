package iptoasn_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/iptoasn"
)

func TestTheEmbeddedDatabaseKnowsTheWorld(t *testing.T) {
	db, err := iptoasn.Open()
	if err != nil {
		t.Fatal(err)
	}
	if db.Type != "country ipvAll" || db.Records < 200 || db.Built.Before(time.Date(2026, time.June, 17, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", db)
	}
	for address, want := range map[string]string{
		"8.8.8.8":              "US", // Google
		"193.0.6.139":          "NL", // RIPE NCC
		"200.160.2.3":          "BR", // nic.br
		"41.0.0.1":             "ZA",
		"2001:4860:4860::8888": "US",
		"10.0.0.1":             "",
		"127.0.0.1":            "",
		"fe80::1":              "",
		"2001:db8::1":          "",
	} {
		got, err := db.Lookup(netip.MustParseAddr(address))
		if want == "" {
			if !errors.Is(err, database.ErrNotFound) {
				t.Errorf("%s: %+v, %v, want ErrNotFound", address, got, err)
			}
		} else if err != nil || got.CountryCode != want {
			t.Errorf("%s: %+v, %v, want %s", address, got, err, want)
		}
	}
}

// The check of a whole database is part of every start and every reload.
func BenchmarkOpen(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := iptoasn.Open(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	db, err := iptoasn.Open()
	if err != nil {
		b.Fatal(err)
	}
	address := netip.MustParseAddr("8.8.8.8")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := db.Lookup(address); err != nil {
			b.Fatal(err)
		}
	}
}
