package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxBytes bounds what Decode reads. Eight overlays of forty pods and three
// hundred bins are half a megabyte.
const maxBytes = 32 << 20

// Encode writes r as results.json, indented, each list of counts on one line.
// It fails on a record that Decode would refuse, such as one with a NaN.
func Encode(w io.Writer, r *Results) error {
	if err := r.Validate(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	text = countList.ReplaceAllFunc(text, func(list []byte) []byte {
		return blank.ReplaceAll(list, nil)
	})
	if _, err := w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	return nil
}

// Read decodes a file.
func Read(path string) (*Results, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	r, err := Decode(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// A line break stands between values only, never inside a string, so that
// countList finds nothing else.
var (
	countList = regexp.MustCompile(`\[\n\s*-?\d+(,\n\s*-?\d+)*\n\s*\]`)
	blank     = regexp.MustCompile(`\s+`)
	timeField = regexp.MustCompile(`(?i)"(startedAt|readyAt|unreadyAt|endedAt)"\s*:\s*("(?:[^"\\]|\\.)*"|[^\s,}\]]+)`)
)

// Decode reads one results.json. Fields that it does not know are let through,
// as a later version of the lab may have added them. The error of a bad record
// names the field, or the line and column where it is not JSON, and what is
// accepted.
func Decode(rd io.Reader) (*Results, error) {
	text, err := io.ReadAll(io.LimitReader(rd, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("results: larger than %d MiB, the most that is read", maxBytes>>20)
	}
	// The version comes first: the fields of another one need not even have the
	// types that they have here.
	var head struct {
		SchemaVersion json.RawMessage `json:"schemaVersion"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, positioned(text, err)
	}
	switch v := string(head.SchemaVersion); v {
	case strconv.Itoa(SchemaVersion):
	case "":
		return nil, fmt.Errorf("results: schemaVersion: missing, want %d", SchemaVersion)
	default:
		return nil, fmt.Errorf("results: schemaVersion: %s, want %d", brief(v), SchemaVersion)
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, positioned(text, err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &r, nil
}

// positioned says where in the text a JSON error is.
func positioned(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("results: %s: %w", lineColumn(text, syntax.Offset-1), err)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("results: %s: %s: a JSON %s, want %s", lineColumn(text, kind.Offset-1), kind.Field, kind.Value, kind.Type)
	case errors.As(err, &kind):
		return fmt.Errorf("results: %s: a JSON %s, want an object", lineColumn(text, kind.Offset-1), kind.Value)
	}
	// The error of a time says neither where it is nor which it is.
	for _, m := range timeField.FindAllSubmatchIndex(text, -1) {
		value := text[m[4]:m[5]]
		var at time.Time
		if json.Unmarshal(value, &at) != nil {
			return fmt.Errorf("results: %s: %s: %s, want a time such as \"2026-11-21T22:49:00Z\"",
				lineColumn(text, int64(m[4])), text[m[2]:m[3]], brief(string(value)))
		}
	}
	return fmt.Errorf("results: %w", err)
}

// brief keeps an error to one line.
func brief(value string) string {
	value = strings.Join(strings.Fields(value), " ")
	if runes := []rune(value); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return value
}

func lineColumn(text []byte, offset int64) string {
	before := text[:max(0, min(offset, int64(len(text))))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d:%d", line, column)
}
