package database_test

import (
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

func TestEveryPublishersRecordsAreRead(t *testing.T) {
	enterprise := databasetest.MaxMindCity()
	enterprise["traits"] = mmdbtype.Map{
		"autonomous_system_number":       mmdbtype.Uint32(2856),
		"autonomous_system_organization": mmdbtype.String("British Telecommunications PLC"),
		"is_legitimate_proxy":            mmdbtype.Bool(true),
		"user_type":                      mmdbtype.String("business"),
	}
	london := database.Record{
		CountryCode: "GB", CountryName: "United Kingdom", City: "London", Subdivision: "England", PostalCode: "EC2V",
		Located: true, Latitude: 51.5142, Longitude: -0.0931, AccuracyRadiusKm: 10, TimeZone: "Europe/London",
	}
	londonAS := london
	londonAS.ASNumber, londonAS.ASOrganization = 2856, "British Telecommunications PLC"

	for _, test := range []struct {
		name   string
		record mmdbtype.Map
		want   database.Record
	}{
		{"MaxMind City", databasetest.MaxMindCity(), london},
		{"MaxMind Enterprise", enterprise, londonAS},
		{
			"MaxMind Country",
			mmdbtype.Map{"country": databasetest.MaxMindCity()["country"], "continent": databasetest.MaxMindCity()["continent"]},
			database.Record{CountryCode: "GB", CountryName: "United Kingdom"},
		},
		{
			"MaxMind ASN",
			mmdbtype.Map{
				"autonomous_system_number":       mmdbtype.Uint32(math.MaxUint32),
				"autonomous_system_organization": mmdbtype.String("Reserved"),
			},
			database.Record{ASNumber: math.MaxUint32, ASOrganization: "Reserved"},
		},
		{
			"ip-location-db country", mmdbtype.Map{"country_code": mmdbtype.String("NZ")},
			database.Record{CountryCode: "NZ"},
		},
		{
			"ip-location-db city",
			mmdbtype.Map{
				"country_code": mmdbtype.String("US"), "state1": mmdbtype.String("California"), "state2": mmdbtype.String(""),
				"city": mmdbtype.String("Mountain View"), "postcode": mmdbtype.String("94043"),
				"latitude": mmdbtype.Float32(37.422), "longitude": mmdbtype.Float32(-122.085),
				"timezone": mmdbtype.String("America/Los_Angeles"),
			},
			database.Record{
				CountryCode: "US", City: "Mountain View", Subdivision: "California", PostalCode: "94043",
				Located: true, Latitude: 37.422, Longitude: -122.085, TimeZone: "America/Los_Angeles",
			},
		},
		{
			"IPinfo Lite",
			mmdbtype.Map{
				"asn": mmdbtype.String("AS15169"), "as_name": mmdbtype.String("Google LLC"), "as_domain": mmdbtype.String("google.com"),
				"country": mmdbtype.String("United States"), "country_code": mmdbtype.String("US"),
				"continent": mmdbtype.String("North America"), "continent_code": mmdbtype.String("NA"),
			},
			database.Record{CountryCode: "US", CountryName: "United States", ASNumber: 15169, ASOrganization: "Google LLC"},
		},
		{
			"IPinfo Country and ASN",
			mmdbtype.Map{
				"asn": mmdbtype.String("AS2519"), "as_name": mmdbtype.String("ARTERIA"),
				"country": mmdbtype.String("JP"), "country_name": mmdbtype.String("Japan"),
			},
			database.Record{CountryCode: "JP", CountryName: "Japan", ASNumber: 2519, ASOrganization: "ARTERIA"},
		},
		{
			"IPinfo Location",
			mmdbtype.Map{
				"city": mmdbtype.String("Oslo"), "region": mmdbtype.String("Oslo"), "country": mmdbtype.String("NO"),
				"lat": mmdbtype.String("59.9127"), "lng": mmdbtype.String("10.7461"), "postal_code": mmdbtype.String("0001"),
				"timezone": mmdbtype.String("Europe/Oslo"),
			},
			database.Record{
				CountryCode: "NO", City: "Oslo", Subdivision: "Oslo", PostalCode: "0001",
				Located: true, Latitude: 59.9127, Longitude: 10.7461, TimeZone: "Europe/Oslo",
			},
		},
		{
			"fields of other types are left out, the rest stays",
			mmdbtype.Map{
				"country_code": mmdbtype.String("SE"), "country_name": mmdbtype.Uint32(7), "city": mmdbtype.Slice{mmdbtype.String("x")},
				"subdivisions": mmdbtype.String("x"), "location": mmdbtype.Bool(true), "postal": mmdbtype.Float64(1),
				"asn": mmdbtype.String("AS4294967296"), "latitude": mmdbtype.Map{}, "longitude": mmdbtype.String("east"),
				"accuracy_radius": mmdbtype.Int32(-5), "country": mmdbtype.Map{"names": mmdbtype.Slice{}, "iso_code": mmdbtype.Map{}},
			},
			database.Record{CountryCode: "SE"},
		},
		{
			"a number beyond 32 bits is none",
			mmdbtype.Map{"country_code": mmdbtype.String("SE"), "autonomous_system_number": mmdbtype.Uint64(1 << 32)},
			database.Record{CountryCode: "SE"},
		},
		{
			"no subdivisions in the list", mmdbtype.Map{"country_code": mmdbtype.String("VA"), "subdivisions": mmdbtype.Slice{}},
			database.Record{CountryCode: "VA"},
		},
		{
			"the null island is a position",
			mmdbtype.Map{"latitude": mmdbtype.Float64(0), "longitude": mmdbtype.Float64(0)},
			database.Record{Located: true},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			contents := databasetest.Database{Records: map[string]mmdbtype.DataType{"192.0.2.0/24": test.record}}.Bytes(t)
			db, err := database.Open(contents)
			if err != nil {
				t.Fatal(err)
			}
			got, err := db.Lookup(netip.MustParseAddr("192.0.2.9"))
			if err != nil {
				t.Fatal(err)
			}
			want := database.Result{Record: test.want, Network: netip.MustParsePrefix("192.0.2.0/24")}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPositionOffTheGlobeIsNone(t *testing.T) {
	for _, at := range [][2]float64{{90.1, 0}, {-91, 0}, {0, 180.1}, {0, -999}, {math.NaN(), 0}, {0, math.Inf(1)}} {
		contents := databasetest.Database{Records: map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{
			"location":     mmdbtype.Map{"latitude": mmdbtype.Float64(at[0]), "longitude": mmdbtype.Float64(at[1])},
			"country_code": mmdbtype.String("US"),
		}}}.Bytes(t)
		db, err := database.Open(contents)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := db.Lookup(netip.MustParseAddr("192.0.2.9")); err != nil || got.Located {
			t.Errorf("%v: %+v, %v", at, got, err)
		}
	}
}

func TestHalfAPositionIsNone(t *testing.T) {
	contents := databasetest.Database{Records: map[string]mmdbtype.DataType{
		"192.0.2.0/24": mmdbtype.Map{"location": mmdbtype.Map{"latitude": mmdbtype.Float64(1)}, "country_code": mmdbtype.String("US")},
	}}.Bytes(t)
	db, err := database.Open(contents)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Lookup(netip.MustParseAddr("192.0.2.9")); err != nil || got.Located {
		t.Errorf("%+v, %v", got, err)
	}
}
