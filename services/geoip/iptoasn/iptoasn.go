// Package iptoasn embeds the database that geoip serves when it is given none:
// the country of each announced network, by iptoasn.com (PDDL-1.0; see NOTICE),
// as packed by ip-location-db for npm.
//
// It has no record for a sixth of the public addresses that other databases know,
// and is as old as the last run of "make geo-data"; every answer says when it was
// built.
package iptoasn

import (
	_ "embed" // for the database
	"fmt"

	"github.com/evenkeel/evenkeel/services/geoip/database"
)

//go:generate go run ./refresh --into iptoasn-country.mmdb

// The bytes are part of the program's image. They cost no heap, and of memory only
// the pages in use, which the system can drop at any time.
//
//go:embed iptoasn-country.mmdb
var contents []byte

// Open opens the database.
func Open() (*database.Database, error) {
	db, err := database.Open(contents)
	if err != nil {
		return nil, fmt.Errorf("embedded database: %w", err)
	}

	return db, nil
}
