package report

import (
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Printable keeps a name from steering the terminal.
func Printable(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name)
}

// Fill breaks a line where its words meet; what follows an indented line is indented more.
func Fill(line, indent string, width int) string {
	var out strings.Builder
	out.WriteString(indent)
	at, next := text.StringWidth(indent), indent+"  "
	if indent == "" {
		next = ""
	}
	for i, word := range strings.Fields(line) {
		long := text.StringWidth(word)
		switch {
		case i > 0 && at+1+long > width:
			out.WriteString("\n" + next)
			at = text.StringWidth(next)
		case i > 0:
			out.WriteString(" ")
			at++
		}
		out.WriteString(word)
		at += long
	}
	return out.String() + "\n"
}

// TrimLines cuts the spaces off that a table leaves at the ends of its lines.
func TrimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
