package consistenthash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/grpc/serviceconfig"
)

const (
	defaultLoadFactor   = 1.25
	maxLoadFactor       = 1000
	defaultVirtualNodes = 256
	maxVirtualNodes     = 4096
	maxMinCapacity      = 1_000_000

	// loadFactorUnit makes a load factor of up to four decimals a whole number,
	// so that the bound is exact: as a float, 1.1 times 10 is above 11.
	loadFactorUnit = 10_000
)

// config is the policy's part of the service config, checked.
type config struct {
	serviceconfig.LoadBalancingConfig // the interface is closed to all but gRPC

	requestHashHeader string
	loadFactor        uint64 // in parts of loadFactorUnit; 0: no bound
	minCapacity       int64  // an endpoint with fewer in flight is never full
	randomWithoutKey  bool   // missingKey is "random"
	virtualNodes      int    // points on the ring of an endpoint of mean weight
}

// parseConfig reads the JSON of a service config. A field that it does not know
// is an error: a misspelt loadFactor would otherwise be a silent default.
func parseConfig(text json.RawMessage) (*config, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%s: config is %s: want a JSON object", Name, shown(text))
	}
	c := &config{
		loadFactor:   defaultLoadFactor * loadFactorUnit,
		virtualNodes: defaultVirtualNodes,
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := c.set(name, fields[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", Name, err)
		}
	}
	return c, nil
}

func (c *config) set(name string, value json.RawMessage) error {
	var err error
	switch name {
	case "requestHashHeader":
		c.requestHashHeader, err = parseHeader(value)
	case "loadFactor":
		c.loadFactor, err = parseLoadFactor(value)
	case "missingKey":
		c.randomWithoutKey, err = parseMissingKey(value)
	case "minCapacity":
		var n int
		n, err = parseWhole(value, 0, maxMinCapacity)
		c.minCapacity = int64(n)
	case "virtualNodes":
		c.virtualNodes, err = parseWhole(value, 1, maxVirtualNodes)
	default:
		return fmt.Errorf("unknown field %q: want loadFactor, minCapacity, missingKey, requestHashHeader or virtualNodes", name)
	}
	if err != nil {
		return fmt.Errorf("%s is %s: %w", name, shown(value), err)
	}
	return nil
}

// parseHeader takes what gRFC A76 takes: a valid name of a request header that
// is not binary. What gRPC keeps for itself can never hold a key.
func parseHeader(value json.RawMessage) (string, error) {
	name, isString := parseString(value)
	if !isString || name == "" || strings.ContainsFunc(name, notInHeaderName) {
		return "", errors.New(`want the name of a request header such as "x-user-id", of the characters a-z 0-9 . - _`)
	}
	if strings.HasPrefix(name, "grpc-") || strings.HasSuffix(name, "-bin") {
		return "", errors.New(`want a text header of your own: names that begin with "grpc-" or end with "-bin" are not accepted`)
	}
	return name, nil
}

func notInHeaderName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

func parseLoadFactor(value json.RawMessage) (uint64, error) {
	factor, isNumber := parseNumber(value)
	if isNumber && factor == 0 {
		return 0, nil
	}
	parts := math.Round(factor * loadFactorUnit)
	// A float is never exactly four decimals: 1.1 is off by 1e-16. A fifth decimal is off by at least 0.1 here.
	fourDecimals := math.Abs(factor*loadFactorUnit-parts) < 1e-6
	if !isNumber || factor <= 1 || factor > maxLoadFactor || !fourDecimals {
		return 0, fmt.Errorf("want 0 (no bound) or a number above 1, at most %d, of at most four decimals", maxLoadFactor)
	}
	return uint64(parts), nil
}

func parseMissingKey(value json.RawMessage) (random bool, err error) {
	switch choice, _ := parseString(value); choice {
	case "error":
		return false, nil
	case "random":
		return true, nil
	default:
		return false, errors.New(`want "error" or "random"`)
	}
}

func parseWhole(value json.RawMessage, least, most int) (int, error) {
	n, isNumber := parseNumber(value)
	if !isNumber || n != math.Trunc(n) || n < float64(least) || n > float64(most) {
		return 0, fmt.Errorf("want a whole number from %d to %d", least, most)
	}
	return int(n), nil
}

// parseNumber and parseString take null for neither: encoding/json would let it
// pass as nothing at all.
func parseNumber(value json.RawMessage) (float64, bool) {
	var n *float64
	if json.Unmarshal(value, &n) != nil || n == nil {
		return 0, false
	}
	return *n, true
}

func parseString(value json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(value, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// shown puts a value on one line of bearable length.
func shown(value json.RawMessage) string {
	const enough = 80
	line := strings.TrimSpace(string(value))
	var compact bytes.Buffer
	if json.Compact(&compact, value) == nil {
		line = compact.String()
	}
	line = strings.ToValidUTF8(strings.NewReplacer("\n", " ", "\r", " ").Replace(line), "?")
	if len(line) > enough {
		line = strings.ToValidUTF8(line[:enough], "") + "..."
	}
	if line == "" {
		return "empty"
	}
	return line
}
