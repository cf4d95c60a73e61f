// Package report shows the results of an experiment to people: as one HTML file
// that needs nothing else, and as a table for a terminal. It draws and words;
// every figure that compares overlays comes from results.Summary.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"

	"github.com/evenkeel/evenkeel/internal/palette"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// The bundle of d3 is committed, so that only whoever changes it needs npm.
//
//go:generate npm --prefix assets/d3 ci --ignore-scripts
//go:generate npm --prefix assets/d3 run bundle

//go:embed assets/page.html.tmpl assets/report.css assets/*.js assets/d3/d3.min.js
var assets embed.FS

var pageTemplate = template.Must(template.New("page.html.tmpl").Funcs(template.FuncMap{
	"add":    func(a, b int) int { return a + b },
	"list":   func(items ...any) []any { return items },
	"style":  func(name string) template.CSS { return template.CSS(palette.CSS + asset(name)) }, //nolint:gosec // our own files
	"script": func(name string) template.JS { return template.JS(asset(name)) },                 //nolint:gosec // our own file
}).ParseFS(assets, "assets/page.html.tmpl"))

func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		// The template is our own too: a name that is not embedded cannot be released.
		panic(err)
	}
	return string(text)
}

// HTML writes r as a page that asks no other host for anything. It fails on a
// record that results.Validate refuses.
func HTML(w io.Writer, r *results.Results) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := pageTemplate.Execute(w, newPage(r)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
