// Package palette has the colours and the type that all pages share, light and dark: those of the client and those of
// the lab.
package palette

import _ "embed"

// CSS is the beginning of a page's style. What the page has of its own comes after it.
//
//go:embed palette.css
var CSS string
