package database

import (
	"math"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2/mmdbdata"
)

// Record is what a database says of one network. A field that the database does
// not have is empty.
type Record struct {
	// CountryCode is the country's ISO 3166-1 alpha-2 code.
	CountryCode string
	// CountryName, City and Subdivision are English names; Subdivision is the
	// largest one (state, province).
	CountryName, City, Subdivision string
	PostalCode                     string
	// Latitude (-90 to 90) and Longitude (-180 to 180) are in degrees.
	Latitude, Longitude float64
	// Located says that the record has a Latitude and a Longitude.
	Located bool
	// AccuracyRadiusKm is in kilometres, 0 when not known.
	AccuracyRadiusKm uint32
	// TimeZone is a name of the IANA time zone database.
	TimeZone string
	// ASNumber and ASOrganization are the autonomous system.
	ASNumber       uint32
	ASOrganization string
}

const (
	// maxEntries bounds the map entries that are visited for one record. The
	// largest records in use have some 150, most of them names in other languages.
	maxEntries = 4096
	// maxText bounds a text, in bytes.
	maxText = 1 << 10
)

// decoder fills a record from any of the shapes that publishers use, by the
// names of the fields alone:
//
//   - MaxMind and DB-IP nest: country.iso_code, country.names.en, city.names.en,
//     subdivisions[0].names.en, postal.code, location.latitude, traits.…
//   - ip-location-db is flat: country_code, state1, city, postcode, latitude,
//     timezone, autonomous_system_number, …
//   - IPinfo is flat with names of its own: country (a code or a name), region,
//     asn ("AS15169"), as_name, lat, lng, …
//
// What has another type than expected is skipped, so that one odd field does not
// cost the rest of the record. It is written out by hand instead of with struct
// tags because a tag has one type, and city is a map to some and a string to others.
//
// A damaged file may hold maps that repeat one another without end. entries bounds
// that, as the reader asks of those who decode for themselves.
type decoder struct {
	record  Record
	entries int
	// lat and lon say which half of a position was seen.
	lat, lon bool
}

// UnmarshalMaxMindDBCursor implements mmdbdata.CursorUnmarshaler.
func (d *decoder) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	*d = decoder{}
	next, err := d.each(c, d.field)
	r := &d.record
	r.Located = d.lat && d.lon &&
		r.Latitude >= -90 && r.Latitude <= 90 && r.Longitude >= -180 && r.Longitude <= 180

	return next, err
}

// field reads a field of the record itself.
func (d *decoder) field(key []byte, value mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	r := &d.record
	switch string(key) {
	case "country":
		return d.country(value)
	case "city":
		return d.place(value, nil, &r.City)
	case "subdivisions":
		return d.subdivisions(value)
	case "location", "traits":
		return d.each(value, d.flat)
	case "postal":
		return d.place(value, &r.PostalCode, &r.PostalCode)
	}

	return d.flat(key, value)
}

// flat reads a field that holds a single value.
func (d *decoder) flat(key []byte, value mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	r := &d.record
	switch string(key) {
	case "country_code":
		return text(value, &r.CountryCode)
	case "country_name":
		return text(value, &r.CountryName)
	case "state1", "region":
		return text(value, &r.Subdivision)
	case "postcode", "postal_code":
		return text(value, &r.PostalCode)
	case "latitude", "lat":
		return number(value, &r.Latitude, &d.lat)
	case "longitude", "lng":
		return number(value, &r.Longitude, &d.lon)
	case "accuracy_radius":
		return whole(value, &r.AccuracyRadiusKm)
	case "time_zone", "timezone":
		return text(value, &r.TimeZone)
	case "autonomous_system_number", "asn":
		return whole(value, &r.ASNumber)
	case "autonomous_system_organization", "as_name":
		return text(value, &r.ASOrganization)
	}

	return value.Skip()
}

// country reads MaxMind's map, or IPinfo's string, which is a code in some of its
// databases and a name in others.
func (d *decoder) country(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	var code, name string
	next, err := d.place(c, &code, &name)
	if code == "" && len(name) == len("US") {
		code, name = name, ""
	}
	if code != "" {
		d.record.CountryCode = code
	}
	if name != "" {
		d.record.CountryName = name
	}

	return next, err
}

// place reads a map with a code and names in several languages, or a string, which
// is the name.
func (d *decoder) place(c mmdbdata.Cursor, code, name *string) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind == mmdbdata.KindString {
		return text(c, name)
	}

	return d.each(c, func(key []byte, value mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		switch string(key) {
		case "iso_code", "code":
			return text(value, code)
		case "names":
			return d.each(value, func(language []byte, value mmdbdata.Cursor) (mmdbdata.Cursor, error) {
				if string(language) == "en" {
					return text(value, name)
				}

				return value.Skip()
			})
		}

		return value.Skip()
	})
}

// subdivisions reads the first of a list, which goes from the largest to the
// smallest.
func (d *decoder) subdivisions(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind != mmdbdata.KindSlice {
		return c.Skip()
	}
	list, err := c.Slice()
	if err != nil {
		return c, err
	}
	var next mmdbdata.Cursor
	for {
		i, value, ok := list.Next(next)
		if !ok {
			return list.End()
		}
		if err := d.visited(); err != nil {
			return c, err
		}
		if i == 0 {
			var code string
			next, err = d.place(value, &code, &d.record.Subdivision)
		} else {
			next, err = value.Skip()
		}
		if err != nil {
			return c, err
		}
	}
}

// each visits the entries of a map, and skips what is none.
func (d *decoder) each(
	c mmdbdata.Cursor, visit func(key []byte, value mmdbdata.Cursor) (mmdbdata.Cursor, error),
) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind != mmdbdata.KindMap {
		return c.Skip()
	}
	entries, err := c.Map()
	if err != nil {
		return c, err
	}
	var next mmdbdata.Cursor
	for {
		key, value, ok := entries.Next(next)
		if !ok {
			return entries.End()
		}
		if err := d.visited(); err != nil {
			return c, err
		}
		if next, err = visit(key, value); err != nil {
			return c, err
		}
	}
}

// visited counts an entry.
func (d *decoder) visited() error {
	d.entries++
	if d.entries > maxEntries {
		return mmdbdata.NewInvalidDatabaseError("a record has more than %d entries", maxEntries)
	}

	return nil
}

func text(c mmdbdata.Cursor, into *string) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind != mmdbdata.KindString {
		return c.Skip()
	}
	value, next, err := c.ReadStringMaxSize(maxText)
	*into = value

	return next, err
}

// number reads a coordinate: a float, or IPinfo's text.
func number(c mmdbdata.Cursor, into *float64, seen *bool) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return c, err
	}
	switch kind {
	case mmdbdata.KindFloat64:
		value, next, err := c.ReadFloat64()
		*into, *seen = value, err == nil

		return next, err
	case mmdbdata.KindFloat32:
		value, next, err := c.ReadFloat32()
		// A float32 has about five decimals of a degree (1 m); what float64 would add
		// is noise.
		*into, *seen = math.Round(float64(value)*1e5)/1e5, err == nil

		return next, err
	case mmdbdata.KindString:
		var digits string
		next, err := text(c, &digits)
		value, parseErr := strconv.ParseFloat(digits, 64)
		*into, *seen = value, parseErr == nil

		return next, err
	default:
		return c.Skip()
	}
}

// whole reads an unsigned integer that fits 32 bits: a number, or IPinfo's text
// ("AS15169").
func whole(c mmdbdata.Cursor, into *uint32) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return c, err
	}
	switch kind {
	case mmdbdata.KindUint16, mmdbdata.KindUint32, mmdbdata.KindUint64:
		value, next, err := c.ReadUint()
		if value <= math.MaxUint32 {
			*into = uint32(value)
		}

		return next, err
	case mmdbdata.KindString:
		var digits string
		next, err := text(c, &digits)
		if value, parseErr := strconv.ParseUint(strings.TrimPrefix(digits, "AS"), 10, 32); parseErr == nil {
			*into = uint32(value)
		}

		return next, err
	default:
		return c.Skip()
	}
}
