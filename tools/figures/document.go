package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

// begin is the comment with a template, end the one after its text.
var (
	begin = regexp.MustCompile(`<!--(\{\{.*?\}\})-->`)
	end   = "<!--/-->"
)

// fill returns a document with each figure as the results have it. An error begins with the line.
func fill(text []byte, s sets) ([]byte, error) {
	var out bytes.Buffer
	rest := text
	for {
		at := begin.FindSubmatchIndex(rest)
		if at == nil {
			out.Write(rest)

			return out.Bytes(), nil
		}
		line := bytes.Count(text[:len(text)-len(rest)+at[0]], []byte("\n")) + 1
		source := string(rest[at[2]:at[3]])
		length := bytes.Index(rest[at[1]:], []byte(end))
		if length < 0 || begin.Match(rest[at[1]:at[1]+length]) {
			return nil, fmt.Errorf("%d: %s: no %s ends it", line, source, end)
		}
		figure, err := evaluate(source, s)
		if err != nil {
			return nil, fmt.Errorf("%d: %s: %w", line, source, err)
		}
		out.Write(rest[:at[1]])
		out.WriteString(figure)
		rest = rest[at[1]+length:]
		out.WriteString(end)
		rest = rest[len(end):]
	}
}

// evaluate says what a template does. One that says lines stands on lines of its own.
func evaluate(source string, s sets) (string, error) {
	t, err := template.New("").Funcs(s.functions()).Parse(source)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, nil); err != nil {
		// What text/template puts before the cause says where it is in a line that the caller names.
		_, cause, found := strings.Cut(err.Error(), "error calling ")
		if found {
			return "", fmt.Errorf("%s", cause)
		}

		return "", err
	}
	figure := strings.TrimSuffix(out.String(), "\n")
	if strings.Contains(figure, "\n") {
		figure = "\n" + figure + "\n"
	}

	return figure, nil
}
