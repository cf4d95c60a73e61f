package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/services/geoip/database"
)

// metrics are what geoip counts besides RPCs, which the server kit counts.
type metrics struct {
	found, notFound, invalid, failed prometheus.Counter
	reloaded, refused                prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, current func() *database.Database) *metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evenkeel_geoip_lookups_total",
		Help: "Addresses looked up, in batches or alone, by result: found, not_found, invalid (a malformed address) or failed (a damaged database).",
	}, []string{"result"})
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evenkeel_geoip_database_reloads_total",
		Help: "Times that the database file changed and was read again, by result: loaded, or refused (the version before goes on serving).",
	}, []string{"result"})
	registry.MustRegister(lookups, reloads,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_geoip_database_build_timestamp_seconds",
			Help: "When the database that serves was built, in seconds since 1970.",
		}, func() float64 { return float64(current().Built.Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_geoip_database_size_bytes",
			Help: "Size of the database that serves, in bytes.",
		}, func() float64 { return float64(current().Size) }),
	)

	return &metrics{
		found:    lookups.WithLabelValues("found"),
		notFound: lookups.WithLabelValues("not_found"),
		invalid:  lookups.WithLabelValues("invalid"),
		failed:   lookups.WithLabelValues("failed"),
		reloaded: reloads.WithLabelValues("loaded"),
		refused:  reloads.WithLabelValues("refused"),
	}
}
